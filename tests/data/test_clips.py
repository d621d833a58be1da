"""Batches do not depend on who reads them, and test clips are the same to the bit every time."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from hicmae_core.config import DatasetParams
from hicmae_core.data import batches as batches_module
from hicmae_core.data.batches import num_batches, training_batches
from hicmae_core.data.clips import ClipDataset
from hicmae_core.data.sampling import ClipWindow
from hicmae_core.data.sampling import test_windows as sampling_windows
from hicmae_core.data.tensors import FBANK_MEAN, FBANK_SCALE, fbank_window
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore, as_matrix


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.clip_ids == b.clip_ids
        for x, y in zip(a[1:4], b[1:4], strict=True):
            assert torch.equal(x, y)


def batches(clips, num_workers=0, epoch=0, **more):
    """The batches of one epoch."""
    start = epoch * num_batches(len(clips), 4, drop_last=False)
    return list(training_batches(clips, 4, 7, epoch + 1, num_workers, drop_last=False, start_step=start, **more))


def test_shapes_and_types(clips):
    batch = batches(clips)[0]
    assert batch.frames.shape == (4, 4, 48, 48, 3)
    assert batch.frames.dtype == torch.uint8
    assert batch.audio.shape == (4, 1, 32, 128)
    assert batch.audio.dtype == torch.float32
    assert batch.labels.tolist() == [int(clip_id[1:]) % 3 for clip_id in batch.clip_ids]


def test_every_clip_once_an_epoch_in_an_order_of_its_own(clips):
    first, second = ([clip_id for batch in batches(clips, epoch=e) for clip_id in batch.clip_ids] for e in (0, 1))
    assert sorted(first) == sorted(second) == sorted(clips.clip_ids)
    assert first != second


def test_windows_differ_between_epochs(clips):
    long_clip = dataclasses.replace(clips, clip_ids=["c9"], labels=None)
    windows = {batch.frames.sum().item() for epoch in range(8) for batch in batches(long_clip, epoch=epoch)}
    assert len(windows) > 3


def test_two_workers_read_what_none_reads(clips):
    assert_same(batches(clips), batches(clips, num_workers=2))
    one, two = (list(batches_module.test_batches(clips, 3, 2, num_workers=n)) for n in (0, 2))
    assert_same(one, two)


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 11.0)], ids=["each once", "weighted"])
def test_going_on_after_any_batch_of_a_training(clips, weights):
    whole = [batch for epoch in range(3) for batch in batches(clips, epoch=epoch, weights=weights)]
    for step in range(len(whole)):
        num_workers = 2 if step == 4 else 0
        rest = training_batches(clips, 4, 7, 3, num_workers, drop_last=False, start_step=step, weights=weights)
        assert_same(whole[step:], list(rest))


def test_the_draws_stay_what_they_were(clips):
    """A training that an older version began goes on with the same clips and windows."""
    order = np.random.default_rng([7, 2, 0]).permutation(10)
    for number, batch in enumerate(batches(clips, epoch=2)):
        places = range(10)[4 * number : 4 * number + 4]
        generators = [np.random.default_rng([7, 2, place + 1]) for place in places]
        assert_same([clips.training_batch(order[places].tolist(), generators)], [batch])


@pytest.mark.parametrize("num_clips", [8, 9, 10])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_processes_share_every_batch_without_overlap_or_loss(clips, world_size, num_clips):
    some = dataclasses.replace(clips, clip_ids=clips.clip_ids[:num_clips], labels=None)

    def of_rank(rank, world_size):
        return list(training_batches(some, 4, 7, 1, 0, drop_last=True, rank=rank, world_size=world_size))

    together = zip(*(of_rank(rank, world_size) for rank in range(world_size)), strict=True)
    for whole, shares in zip(of_rank(0, 1), together, strict=True):
        assert whole.clip_ids == [clip_id for share in shares for clip_id in share.clip_ids]
        assert torch.equal(whole.frames, torch.cat([share.frames for share in shares]))
    read = [clip_id for batch in of_rank(0, 1) for clip_id in batch.clip_ids]
    assert len(set(read)) == len(read) == num_clips // 4 * 4


def test_a_batch_that_the_processes_cannot_share_is_refused(clips):
    with pytest.raises(ValueError, match="multiple"):
        training_batches(clips, 5, 7, 1, 0, drop_last=True, rank=0, world_size=2)


def test_weights_say_how_often_a_clip_is_drawn(clips):
    weights = np.array([0.0] * 8 + [1.0, 3.0])
    epochs = [batches(clips, epoch=epoch, weights=weights) for epoch in range(20)]
    drawn = [clip_id for epoch in epochs for batch in epoch for clip_id in batch.clip_ids]
    assert len(drawn) == 20 * len(clips)
    assert set(drawn) == {"c8", "c9"}
    assert drawn.count("c9") / len(drawn) == pytest.approx(0.75, abs=0.1)
    assert_same(epochs[3], batches(clips, epoch=3, weights=weights, num_workers=2))
    windows = [
        frames.sum().item() for b in epochs[0] for c, frames in zip(b.clip_ids, b.frames, strict=True) if c == "c9"
    ]
    assert len(set(windows)) > 1, "a clip drawn twice shows another window"


def test_reading_advances_no_global_generator(clips):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    batches(clips)
    assert torch.equal(state, torch.get_rng_state())


def test_test_items_are_the_same_to_the_bit(clips):
    for index in range(len(clips)):
        for one, other in zip(clips.test_item(index, 2), clips.test_item(index, 2), strict=True):
            assert torch.equal(one, other)
    frames, audio = clips.test_item(9, 2)
    assert frames.shape == (2, 4, 48, 48, 3)
    assert audio.shape == (2, 32, 128)
    jpegs = clips.faces["c9"]["frames"]
    for shown, number in zip(frames[1], (14, 16, 18, 20), strict=True):
        stored = Image.open(io.BytesIO(jpegs[number].as_py()))
        np.testing.assert_array_equal(shown.numpy(), np.asarray(stored))


def test_the_stream_that_is_not_wanted_is_not_read(clips, tmp_path):
    rows = [{"clip_id": f"c{i}", "fps": 25.0, "frames": [b"no picture"] * (3 + 2 * i)} for i in range(10)]
    write_shards(tmp_path / "faces", rows, FACES_SCHEMA, num_shards=1)
    write_shards(tmp_path / "audio", [], AUDIO_SCHEMA, num_shards=1)
    heard = dataclasses.replace(clips, faces=ClipStore(tmp_path / "faces"), modality="audio")
    seen = dataclasses.replace(clips, audio=ClipStore(tmp_path / "audio"), modality="video")
    for both, sound, picture in zip(batches(clips), batches(heard), batches(seen), strict=True):
        assert torch.equal(sound.audio, both.audio)
        assert sound.frames.shape == (*both.frames.shape[:1], 0, 32, 32, 3)
        assert torch.equal(picture.frames, both.frames)
        assert picture.audio.shape == (*both.audio.shape[:1], 1, 0, 128)
    (sound,) = batches_module.test_batches(heard, 10, 2, num_workers=0)
    assert sound.frames.shape == (10, 2, 0, 32, 32, 3)
    with pytest.raises(ValueError, match="10 clips are not there"):
        dataclasses.replace(clips, audio=ClipStore(tmp_path / "audio"), modality="audio")


def test_a_face_that_is_a_sample_hears_its_part_of_the_clip(clips, tmp_path):
    jpegs = clips.faces["c9"]["frames"].to_pylist()
    rows = [
        {"clip_id": "c9#1", "source": "c9", "start_seconds": 0.0, "fps": 25.0, "frames": jpegs[:8]},
        {"clip_id": "c9#2", "source": "c9", "start_seconds": 0.4, "fps": 25.0, "frames": jpegs[10:18]},
    ]
    write_shards(tmp_path, rows, FACES_SCHEMA, num_shards=1)
    model = clips.model.model_copy(update={"num_frames": 4, "num_audio_frames": 64})
    samples = dataclasses.replace(clips, faces=ClipStore(tmp_path), clip_ids=["c9#1", "c9#2"], labels=None, model=model)
    fbank = as_matrix(clips.audio["c9"]["fbank"])
    for index, start in ((0, 0), (1, 6400)):
        _, log_mel = samples.test_item(index, 1)
        expected = fbank_window(fbank, ClipWindow(np.arange(4), start, start + 5120), 64)  # 0.32 s of 0.84
        torch.testing.assert_close(log_mel[0], expected)


@pytest.mark.parametrize(("share", "taken"), [(2.0, 1.0), (0.5, 1.0), (1.04, 1.04), (0.97, 0.97)])
def test_audio_of_another_length_than_its_video_is_cut_or_padded(clips, tmp_path, share, taken):
    """A recorder that ran on: the first second of audio belongs to the first second of video all the same."""
    num_frames = 50
    num_samples = round(share * num_frames * 640)
    fbank = np.random.default_rng(0).normal(size=(1 + (num_samples - 400) // 160, 128)).astype(np.float32)
    jpegs = clips.faces["c9"]["frames"].to_pylist()[:1] * num_frames
    write_shards(tmp_path / "f", [{"clip_id": "a", "fps": 25.0, "frames": jpegs}], FACES_SCHEMA, 1)
    write_shards(tmp_path / "a", [{"clip_id": "a", "num_samples": num_samples, "fbank": fbank}], AUDIO_SCHEMA, 1)
    stores = ClipStore(tmp_path / "f"), ClipStore(tmp_path / "a")
    model = clips.model.model_copy(update={"num_audio_frames": 128, "frame_stride": 4})
    _, log_mel = ClipDataset(*stores, ["a"], None, model).test_item(0, 2)
    stored = as_matrix(stores[1]["a"]["fbank"])
    windows = sampling_windows(num_frames, round(taken * num_frames * 640), 4, 4, 2)
    for window, segment in zip(windows, log_mel, strict=True):
        torch.testing.assert_close(segment, fbank_window(stored, window, 128))


def test_a_fbank_window_holds_the_frames_inside_it():
    fbank = np.arange(100, dtype=np.float16)[:, None].repeat(128, 1)

    def rows(start, end, length=32):
        window = fbank_window(fbank, ClipWindow(np.arange(2), start, end), length)
        return (window[:, 0] * FBANK_SCALE + FBANK_MEAN).round().int().tolist()

    assert rows(0, 1200)[:7] == [0, 1, 2, 3, 4, 5, 0]  # frame 5 covers samples 800 to 1200
    assert rows(0, 1199)[:6] == [0, 1, 2, 3, 4, 0]
    assert rows(1, 1200)[:6] == [1, 2, 3, 4, 5, 0]  # frame 0 starts too early
    assert rows(0, 16_000, length=16) == list(range(16))
    assert rows(15_000, 99_999)[:8] == [94, 95, 96, 97, 98, 99, 0, 0]
    assert rows(0, 0) == [0] * 32


def test_too_few_clips_for_a_batch():
    assert num_batches(10, 4, drop_last=False) == 3
    assert num_batches(10, 4, drop_last=True) == 2
    with pytest.raises(ValueError, match="more than the 3 training clips"):
        num_batches(3, 4, drop_last=True)


def test_labels_come_from_the_manifest(clips):
    manifest = pd.DataFrame({"clip_id": ["c1", "c2", "c3"], "subject": ["s1", None, "s3"], "label": [0, 1, 1]})
    manifest["unit"] = ["u1", "c2", "u1"]
    manifest["group"] = ["old", None, "young"]
    manifest["target_valence"] = [0.5, -1.0, 2.0]
    manifest["target_level"] = [0, 1, 1]
    classes = DatasetParams(corpus="csv", classes=("a", "b"), num_folds=1)
    labelled = ClipDataset.from_manifest(manifest, ["c3", "c1"], clips.faces, clips.audio, classes, clips.model)
    assert labelled.labels.tolist() == [1, 0]
    assert labelled.subjects == ["s3", "s1"]
    assert labelled.units == ["u1", "u1"]
    assert set(labelled.groups) == {"old", "young"}
    levels = DatasetParams(
        corpus="csv", task="multi_classification", classes=("a", "b"), targets=("level",), num_folds=1
    )
    rated = ClipDataset.from_manifest(manifest, ["c3"], clips.faces, clips.audio, levels, clips.model)
    assert rated.labels.tolist() == [[1]]
    assert rated.labels.dtype == np.int64
    targets = DatasetParams(corpus="csv", task="regression", targets=("valence",), num_folds=1)
    measured = ClipDataset.from_manifest(manifest, ["c2"], clips.faces, clips.audio, targets, clips.model)
    assert measured.labels.tolist() == [[-1.0]]
    assert measured.subjects == [None]
    assert measured.units == ["c2"]


def test_a_clip_that_is_not_prepared_is_named(clips):
    with pytest.raises(ValueError, match=r"1 clips are not there \(c99"):
        dataclasses.replace(clips, clip_ids=["c1", "c99"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda jpeg: b"\xff\xd8 not a picture",
        lambda jpeg: jpeg[: len(jpeg) // 2],
        lambda jpeg: jpeg[:-2],
        lambda jpeg: jpeg[: len(jpeg) // 2] + b"\xff\xd9" + jpeg[len(jpeg) // 2 :],
        lambda jpeg: b"",
    ],
    ids=["no picture", "half", "no end", "ends in the middle", "empty"],
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_damaged_crop_is_named(clips, tmp_path, damage, place):
    jpegs = clips.faces["c1"]["frames"].to_pylist()
    jpegs[place] = damage(jpegs[place])
    write_shards(tmp_path, [{"clip_id": "c1", "fps": 25.0, "frames": jpegs}], FACES_SCHEMA, num_shards=1)
    damaged = dataclasses.replace(clips, faces=ClipStore(tmp_path), clip_ids=["c1"])
    with pytest.raises(ValueError, match="clip c1: a face crop is damaged"):
        damaged.test_item(0, 1)


def test_crops_of_another_size_are_refused(clips, tmp_path):
    jpegs = clips.faces["c1"]["frames"].to_pylist()
    stream = io.BytesIO()
    Image.new("RGB", (48, 40)).save(stream, "JPEG")
    jpegs[2] = stream.getvalue()
    write_shards(tmp_path, [{"clip_id": "c1", "fps": 25.0, "frames": jpegs}], FACES_SCHEMA, num_shards=1)
    damaged = dataclasses.replace(clips, faces=ClipStore(tmp_path), clip_ids=["c1"])
    with pytest.raises(ValueError, match="frame 2 is 48 x 40 pixels, not 48 x 48"):
        damaged.test_item(0, 1)
