import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import FacesParams, PreparationParams
from hicmae_core.media.decoding import read_audio
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_face
from hicmae_core.media.waveform import log_mel
from hicmae_core.preparation.preparing import prepare_audio, prepare_faces
from hicmae_core.store.shards import ClipStore, as_matrix
from tests.media.films import background, picture, talking_head, tone, write_film

FACES = FacesParams(detect_size=256, size=64)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    frames, _ = talking_head(20)
    for index in range(3):
        write_film(root / f"good{index}.mp4", frames[index : index + 12], tone(0.5, hertz=200 + 90 * index))
    write_film(root / "faceless.mp4", [background()] * 8, tone(0.3))
    write_film(root / "silent.mp4", frames[:8])
    (root / "zero.mp4").touch()
    return root


def manifest_of(*names: str, **columns: list[str | None]) -> pd.DataFrame:
    frame = pd.DataFrame({"clip_id": names, "video_path": [f"{name}.mp4" for name in names]})
    fixed = {"audio_path": None, "sha256": None, "audio_sha256": None, "status": "ok", "reason": ""}
    return frame.assign(**{**fixed, **columns})


def settings(num_shards=2, max_reject_fraction=0.5, **values) -> PreparationParams:
    return PreparationParams(num_shards=num_shards, max_reject_fraction=max_reject_fraction, **values)


def test_of_no_clips_there_is_an_empty_store(raw, tmp_path):
    nothing = manifest_of("good0").iloc[:0]
    faces, audio = tmp_path / "faces", tmp_path / "audio"
    found = prepare_faces(nothing, raw, faces, tmp_path / "cache1", FACES, "single", settings())
    heard = prepare_audio(nothing, raw, audio, tmp_path / "cache2", settings())
    assert found == {"num_clips": 0, "num_rejected": 0, "num_frames": 0, "num_reused": 0, "num_prepared": 0}
    assert heard == {"num_clips": 0, "num_rejected": 0, "num_reused": 0, "num_prepared": 0}
    assert len(ClipStore(faces)) == len(ClipStore(audio)) == 0


def test_faces_of_good_and_bad_clips(raw, tmp_path):
    names = ("good0", "zero", "good1", "faceless", "good2")
    out = tmp_path / "faces"
    manifest = manifest_of(*names)
    summary = prepare_faces(manifest, raw, out, tmp_path / "cache", FACES, "single", settings(), num_processes=2)
    assert json.loads(json.dumps(summary)) == {
        "num_clips": 5,
        "num_rejected": 2,
        "num_frames": 36,
        "num_reused": 0,
        "num_prepared": 5,
        "no_face": 1,
        "ok": 3,
        "zero_byte": 1,
    }
    store = ClipStore(out)
    assert store.index["clip_id"].tolist() == ["faceless", "good0", "good1", "good2", "zero"]
    assert store.index["status"].tolist() == ["no_face", "ok", "ok", "ok", "zero_byte"]
    assert store.clip_ids == ["good0", "good1", "good2"]
    row = store["good1"]
    here = extract_face(raw / "good1.mp4", FACES, CenterFace(256, 0.5))
    assert row["frames"].to_pylist() == here.frames
    assert row["fps"] == 25.0
    rejects = pd.read_csv(out / "rejects.csv")
    assert rejects[["clip_id", "status"]].to_numpy().tolist() == [["faceless", "no_face"], ["zero", "zero_byte"]]
    assert rejects["reason"].str.contains("mp4").all()


def test_sound_of_good_and_bad_clips(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    manifest = manifest_of(
        *("good0", "silent", "good1", "dubbed", "unprepared"),
        video_path=["good0.mp4", "silent.mp4", "good1.mp4", "silent.mp4", "zero.mp4"],
        audio_path=[None, None, None, "good2.mp4", None],
        status=["ok", "ok", "ok", "ok", "zero_byte"],
    )
    out = tmp_path / "audio"
    summary = prepare_audio(manifest, raw, out, tmp_path / "cache", settings(2, 0.25), num_processes=1)
    assert summary == {
        "num_clips": 4,
        "num_rejected": 1,
        "num_reused": 0,
        "num_prepared": 4,
        "no_sound": 1,
        "ok": 3,
    }
    store = ClipStore(out)
    for clip_id, file in [("good0", "good0.mp4"), ("good1", "good1.mp4"), ("dubbed", "good2.mp4")]:
        waveform = read_audio(raw / file)
        assert store[clip_id]["num_samples"] == len(waveform)
        np.testing.assert_array_equal(as_matrix(store[clip_id]["fbank"]), log_mel(waveform).astype(np.float16))
    assert os.environ["OMP_NUM_THREADS"] == "3"  # as it was: single threads are for the workers
    assert "MKL_NUM_THREADS" not in os.environ


def here(work, clips):
    """Runs the clips in this process."""
    return map(work, clips)


def test_each_face_is_a_sample_of_its_own_where_all_are_wanted(raw, tmp_path):
    heads = [(90, 120, 80), (235, 120, 80)]
    write_film(tmp_path / "couple.mp4", [picture(heads)] * 56)
    shutil.copy(raw / "faceless.mp4", tmp_path)
    manifest = manifest_of("couple", "faceless")
    folders = tmp_path, tmp_path / "out", tmp_path / "cache"
    summary = prepare_faces(manifest, *folders, FACES, "all", settings(), run=here)
    assert (summary["num_clips"], summary["num_rejected"], summary["num_frames"]) == (2, 1, 112)
    store = ClipStore(tmp_path / "out")
    assert store.clip_ids == ["couple#1", "couple#2"]
    assert [store[clip_id]["source"] for clip_id in store.clip_ids] == ["couple", "couple"]
    first, second = (store[clip_id]["frames"].to_pylist() for clip_id in store.clip_ids)
    assert (len(first), len(second)) == (56, 56)
    assert first != second
    index = store.index.set_index("clip_id")
    assert index.loc["faceless", "status"] == "no_face"
    assert index.loc["couple#1", "batch"] == index.loc["couple#2", "batch"]
    for clip_id, frames in zip(store.clip_ids, (first, second), strict=True):
        assert index.loc[clip_id, "digest"] == hashlib.sha256(b"".join(frames)).hexdigest()
        assert 50 < index.loc[clip_id, "face_size"] < 150
    assert prepare_faces(manifest, *folders, FACES, "all", settings(), run=here)["num_reused"] == 2
    again = prepare_faces(manifest, *folders, FACES, "stitch", settings(), run=here)
    assert (again["num_reused"], again["num_prepared"]) == (0, 2)


def test_clips_that_are_too_long_are_rejected(raw, tmp_path):
    manifest = manifest_of("good0", "faceless")  # .48 s and .32 s
    short = settings(max_reject_fraction=1, max_clip_seconds=0.4)
    faces = prepare_faces(manifest, raw, tmp_path / "faces", tmp_path / "a", FACES, "single", short, run=here)
    audio = prepare_audio(manifest, raw, tmp_path / "audio", tmp_path / "b", short, run=here)
    assert (faces["too_long"], faces["no_face"]) == (1, 1)
    assert (audio["too_long"], audio["ok"]) == (1, 1)
    reason = ClipStore(tmp_path / "audio").index.set_index("clip_id").loc["good0", "reason"]
    assert "longer than 0.4 s" in reason
    assert "good0.mp4" not in reason  # the same wherever the raw folder is


def test_a_manifest_without_a_good_clip_is_refused(raw, tmp_path):
    with pytest.raises(ValueError, match="no clip with status ok"):
        prepare_audio(manifest_of("zero", status=["zero_byte"]), raw, tmp_path, tmp_path / "cache", settings())


def test_too_many_rejects_stop_with_counts_and_a_list(raw, tmp_path):
    manifest = manifest_of("good0", "zero", "silent", "good1")
    out = tmp_path / "audio"
    with pytest.raises(
        ValueError, match=r"2 of 4 clips were rejected \(1 no_sound, 1 zero_byte\).*rejects.csv"
    ) as error:
        prepare_audio(manifest, raw, out, tmp_path / "cache", settings(1, 0.25), num_processes=1)
    assert "silent.mp4" in str(error.value)
    assert len(pd.read_csv(out / "rejects.csv")) == 2
    assert [path.name for path in out.iterdir()] == ["rejects.csv"]


def test_a_missing_detector_file_is_told_before_any_work(raw, tmp_path):
    faces = FacesParams(detector="sfd", weights=tmp_path / "absent.pth")
    with pytest.raises(ValueError, match=r"absent\.pth"):
        prepare_faces(manifest_of("good0"), raw, tmp_path / "faces", tmp_path / "cache", faces, "single", settings())
    assert not (tmp_path / "faces").exists()
