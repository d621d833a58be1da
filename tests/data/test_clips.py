"""Batches do not depend on who reads them, and test clips are the same to the bit every time."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from hicmae_core.config import DatasetParams
from hicmae_core.data import clips as clips_module
from hicmae_core.data.clips import FBANK_MEAN, FBANK_SCALE, ClipDataset, fbank_window, num_batches, training_batches
from hicmae_core.data.sampling import ClipWindow
from hicmae_core.data.shards import FACES_SCHEMA, ClipStore
from hicmae_core.data.writing import write_shards


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.clip_ids == b.clip_ids
        for x, y in zip(a[1:], b[1:], strict=True):
            assert torch.equal(x, y)


def batches(clips, num_workers=0, epoch=0, **more):
    return list(training_batches(clips, 4, seed=7, epoch=epoch, num_workers=num_workers, drop_last=False, **more))


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
    one, two = (list(clips_module.test_batches(clips, 3, 2, num_workers=n)) for n in (0, 2))
    assert_same(one, two)


def test_going_on_in_the_midst_of_an_epoch(clips):
    assert_same(batches(clips)[1:], batches(clips, start_batch=1))


def test_processes_share_every_batch(clips):
    def of_rank(rank):
        return list(training_batches(clips, 4, 7, 0, 0, drop_last=True, rank=rank, world_size=2))

    whole = batches(clips)[:2]
    for batch, left, right in zip(whole, of_rank(0), of_rank(1), strict=True):
        assert batch.clip_ids == left.clip_ids + right.clip_ids
        assert torch.equal(batch.frames, torch.cat([left.frames, right.frames]))
    with pytest.raises(ValueError, match="multiple"):
        training_batches(clips, 5, 7, 0, 0, drop_last=True, rank=0, world_size=2)


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
    manifest["target_valence"] = [0.5, -1.0, 2.0]
    classes = DatasetParams(corpus="csv", classes=("a", "b"), num_folds=1)
    labelled = ClipDataset.from_manifest(manifest, ["c3", "c1"], clips.faces, clips.audio, classes, clips.model)
    assert labelled.labels.tolist() == [1, 0]
    assert labelled.subjects == ["s3", "s1"]
    targets = DatasetParams(corpus="csv", task="regression", targets=("valence",), num_folds=1)
    measured = ClipDataset.from_manifest(manifest, ["c2"], clips.faces, clips.audio, targets, clips.model)
    assert measured.labels.tolist() == [[-1.0]]
    assert measured.subjects == [None]


def test_a_clip_that_is_not_prepared_is_named(clips):
    with pytest.raises(ValueError, match=r"1 clips are not there \(c99"):
        dataclasses.replace(clips, clip_ids=["c1", "c99"])


def test_a_damaged_crop_is_named(clips, tmp_path):
    rows = [{"clip_id": "c1", "fps": 25.0, "frames": [b"\xff\xd8 not a picture"] * 5}]
    write_shards(tmp_path, rows, FACES_SCHEMA, num_shards=1)
    damaged = dataclasses.replace(clips, faces=ClipStore(tmp_path), clip_ids=["c1"])
    with pytest.raises(ValueError, match="clip c1: a face crop is damaged"):
        damaged.test_item(0, 1)
