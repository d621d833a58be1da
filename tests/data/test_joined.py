"""Several datasets are drawn from as if they were one."""

import dataclasses

import numpy as np
import pytest
import torch

from hicmae_core.data.batches import training_batches
from hicmae_core.data.joined import JoinedClips
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import FACES_SCHEMA, ClipStore
from tests.data.conftest import face_jpegs


@pytest.fixture(scope="module")
def joined(clips, tmp_path_factory):
    """Ten clips of 48 pixels, and two of them again as another dataset's, without labels, of 96 pixels."""
    folder = tmp_path_factory.mktemp("other")
    generator = torch.Generator().manual_seed(1)
    faces = [{"clip_id": name, "fps": 25.0, "frames": face_jpegs(20, generator, 96)} for name in ("c3", "c4")]
    write_shards(folder, faces, FACES_SCHEMA, num_shards=1)
    other = dataclasses.replace(clips, faces=ClipStore(folder), clip_ids=["c3", "c4"], labels=None)
    return JoinedClips((clips, other))


def epoch_of(joined, num_workers=0, **more):
    return list(training_batches(joined, 5, 7, 1, num_workers, drop_last=False, **more))


def test_every_clip_is_its_own_dataset_s(clips, joined):
    generators = [np.random.default_rng(number) for number in range(4)]
    batch = joined.training_batch([11, 2, 10, 5], generators)
    assert batch.clip_ids == ["c4", "c2", "c3", "c5"]
    assert batch.labels is None
    first = clips.training_batch([2, 5], [np.random.default_rng(seed) for seed in (1, 3)])
    second = joined.parts[1].training_batch([0, 1], [np.random.default_rng(seed) for seed in (2, 0)])
    assert torch.equal(batch.frames[[2, 0]], second.frames)
    assert torch.equal(batch.audio[[1, 3]], first.audio)
    assert torch.equal(batch.audio[[2, 0]], second.audio)
    assert batch.frames.shape[2:] == (96, 96, 3)  # the largest of both
    assert (batch.frames[[1, 3]].float().mean((1, 2, 3, 4)) - first.frames.float().mean((1, 2, 3, 4))).abs().max() < 2


def test_an_epoch_holds_all_clips_of_all_datasets_whoever_reads(joined):
    alone, shared = epoch_of(joined), epoch_of(joined, num_workers=2)
    drawn = sorted(clip_id for batch in alone for clip_id in batch.clip_ids)
    assert drawn == sorted([f"c{number}" for number in range(10)] + ["c3", "c4"])
    for one, other in zip(alone, shared, strict=True):
        assert one.clip_ids == other.clip_ids
        assert torch.equal(one.frames, other.frames)


def of_one_modality(clips, modality, names):
    faces = clips.faces
    if modality == "audio":
        faces = ClipStore(faces.folder.with_name("none"))
    return dataclasses.replace(clips, faces=faces, clip_ids=names, labels=None, modality=modality)


@pytest.fixture(scope="module")
def mixed(clips):
    """Ten clips with both modalities, four voices alone, two faces alone."""
    write_shards(clips.faces.folder.with_name("none"), [], FACES_SCHEMA, num_shards=1)
    voices = of_one_modality(clips, "audio", ["c6", "c7", "c8", "c9"])
    return JoinedClips((voices, clips, of_one_modality(clips, "video", ["c8", "c9"])))


def test_what_a_clip_lacks_are_zeros(clips, mixed):
    assert mixed.stride == clips.stride
    batch = mixed.training_batch([15, 3, 4, 0], [np.random.default_rng(number) for number in range(4)])
    assert batch.clip_ids == ["c9", "c9", "c0", "c6"]
    assert batch.modalities == ["video", "audio", "both", "audio"]
    assert [bool(frames.any()) for frames in batch.frames] == [True, False, True, False]
    assert [bool(audio.any()) for audio in batch.audio] == [False, True, True, True]
    halves = batch.micro_batches(2)
    assert [half.modalities for half in halves] == [["video", "audio"], ["both", "audio"]]


def test_a_voice_alone_is_read_as_the_voice_of_a_clip(clips, mixed):
    """Of a clip at the usual rate, that is."""
    at_usual_rate = [{"clip_id": "c9", "fps": 30.0, "frames": face_jpegs(25, torch.Generator().manual_seed(2))}]
    folder = clips.faces.folder.with_name("usual")
    write_shards(folder, at_usual_rate, FACES_SCHEMA, num_shards=1)
    whole = dataclasses.replace(clips, faces=ClipStore(folder), clip_ids=["c9"], labels=None)
    for seed in range(5):
        heard = mixed.parts[0].training_batch([3], [np.random.default_rng(seed)])
        assert torch.equal(heard.audio, whole.training_batch([0], [np.random.default_rng(seed)]).audio)
        assert heard.frames.shape[1] == 0


def test_every_batch_has_its_share_of_each_kind(mixed):
    batches = list(training_batches(mixed, 8, 7, 3, 0, drop_last=True))
    for batch in batches:
        counts = [batch.modalities.count(kind) for kind in ("both", "audio", "video")]
        assert counts == [5, 2, 1]
    ids = sorted(clip_id for batch in batches[:2] for clip_id in batch.clip_ids)
    assert ids == sorted([*mixed.parts[0].clip_ids, *mixed.parts[1].clip_ids, *mixed.parts[2].clip_ids])
    assert batches[0].clip_ids != batches[2].clip_ids


def test_weights_say_how_often_a_dataset_is_drawn(joined):
    weights = joined.weights([1, 3])
    assert weights[:10].sum() * 3 == pytest.approx(weights[10:].sum())
    assert joined.weights(()) is None
    sizes = [batch.frames.shape[2] for batch in epoch_of(joined, weights=joined.weights([1e-9, 1]))]
    assert sizes == [96, 96, 96]
