"""Clip stores: written whole or not at all, read back by clip id."""

import pickle
import resource

import numpy as np
import pandas as pd
import pytest

from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore, as_matrix, shard_of


def face_rows(num_clips=20, num_frames=5, frame_bytes=40):
    rng = np.random.default_rng(0)
    return [
        {
            "clip_id": f"clip{i:02d}",
            "fps": 25.0,
            "frames": [rng.bytes(frame_bytes) for _ in range(num_frames)],
            "status": "ok",
            "coverage": 1.0,
        }
        for i in range(num_clips)
    ]


def test_clips_read_back_by_id(tmp_path):
    rows = face_rows()
    write_shards(tmp_path, rows, FACES_SCHEMA, num_shards=3)
    store = ClipStore(tmp_path)
    assert store.clip_ids == [row["clip_id"] for row in rows]
    for row in reversed(rows):
        clip = store[row["clip_id"]]
        assert clip["frames"].to_pylist() == row["frames"]
        assert clip["fps"] == 25.0
        assert store.index.set_index("clip_id").loc[row["clip_id"], "shard"] == shard_of(row["clip_id"], 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "index.parquet",
        "shard-00000-of-00003.feather",
        "shard-00001-of-00003.feather",
        "shard-00002-of-00003.feather",
    ]


def test_fbank_survives_in_half_precision(tmp_path):
    fbank = np.random.default_rng(0).normal(size=(37, 128)).astype(np.float32)
    write_shards(tmp_path, [{"clip_id": "a", "num_samples": 6000, "fbank": fbank}], AUDIO_SCHEMA, num_shards=1)
    stored = as_matrix(ClipStore(tmp_path)["a"]["fbank"])
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, fbank.astype(np.float16))


def test_pandas_opens_a_shard(tmp_path):
    rows = face_rows()
    write_shards(tmp_path, rows, FACES_SCHEMA, num_shards=2)
    frames = pd.concat(pd.read_feather(path) for path in sorted(tmp_path.glob("*.feather"))).set_index("clip_id")
    for row in rows:
        assert list(frames.loc[row["clip_id"], "frames"]) == row["frames"]


def test_rejected_clips_are_in_the_index_only(tmp_path):
    rejected = {"clip_id": "bad", "frames": None, "fps": None, "status": "no_face", "reason": "no face in 3 frames"}
    write_shards(tmp_path, [*face_rows(2), rejected], FACES_SCHEMA, num_shards=1)
    store = ClipStore(tmp_path)
    assert "bad" not in store
    assert len(store) == 2
    assert store.index.set_index("clip_id").loc["bad", "reason"] == "no face in 3 frames"
    with pytest.raises(KeyError, match="bad"):
        store["bad"]


def test_an_empty_store_is_a_store(tmp_path):
    write_shards(tmp_path, [], FACES_SCHEMA, num_shards=2)
    assert ClipStore(tmp_path).clip_ids == []


def test_a_store_survives_pickling_after_use(tmp_path):
    write_shards(tmp_path, face_rows(), FACES_SCHEMA, num_shards=2)
    store = ClipStore(tmp_path)
    before = store["clip03"]["frames"].to_pylist()
    assert pickle.loads(pickle.dumps(store))["clip03"]["frames"].to_pylist() == before


def test_the_same_clip_twice_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"clip00.*twice"):
        write_shards(tmp_path, [*face_rows(2), *face_rows(1)], FACES_SCHEMA, num_shards=2)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_store_untouched(tmp_path):
    write_shards(tmp_path, face_rows(), FACES_SCHEMA, num_shards=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"(?i)too large|writing"):
            write_shards(tmp_path, face_rows(frame_bytes=20_000), FACES_SCHEMA, num_shards=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_store_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="prepare this dataset first"):
        ClipStore(tmp_path / "nowhere")


def test_a_store_replaces_the_one_before(tmp_path):
    write_shards(tmp_path, face_rows(), FACES_SCHEMA, num_shards=5)
    write_shards(tmp_path, face_rows(3), FACES_SCHEMA, num_shards=2)
    assert len(list(tmp_path.glob("*.feather"))) == 2
    assert ClipStore(tmp_path).clip_ids == ["clip00", "clip01", "clip02"]


def test_two_sets_of_shards_in_one_folder_are_refused(tmp_path):
    write_shards(tmp_path, face_rows(), FACES_SCHEMA, num_shards=2)
    (tmp_path / "shard-00000-of-00009.feather").write_bytes(b"left over")
    (tmp_path / "shard-00001-of-00009.feather").write_bytes(b"left over")
    with pytest.raises(ValueError, match="2 files for shard"):
        ClipStore(tmp_path)["clip00"]
