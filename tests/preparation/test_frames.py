"""Corpora whose videos are folders of face frames: found by name, in the manifest, in the shards and in batches."""

import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hicmae_core.config import DatasetParams, FacesParams, ModelParams, PreparationParams
from hicmae_core.corpora.registry import dataset_named
from hicmae_core.data.clips import ClipDataset
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from hicmae_core.preparation.preparing import prepare_audio, prepare_faces
from hicmae_core.preparation.rows import wanted_clips
from hicmae_core.preparation.writing import write_shards
from hicmae_core.reports.duplicates import find_duplicates
from hicmae_core.reports.sheets import rejected_sheet
from hicmae_core.store.shards import FACES_SCHEMA, ClipStore
from tests.conftest import ROOT
from tests.corpora import trees
from tests.media.face_images import decoded, encoded, face, write_frames
from tests.media.films import tone, write_film

NUM_FRAMES = 12
LABELS = ("anger", "fear")
MINE = DatasetParams(corpus="csv", task="unlabelled")
FACES = FacesParams(size=48)
PREPARATION = PreparationParams(num_shards=2, max_reject_fraction=1.0)


def write_clip(path: Path, num_frames: int = NUM_FRAMES) -> None:
    """A video at 25 fps with audio, without a face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = [np.full((48, 64, 3), 90 + k, np.uint8) for k in range(num_frames)]
    write_film(path, grey, tone(num_frames / 25))


def write_wav(path: Path, seconds: float = 0.48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((20_000 * tone(seconds, 16_000)).astype("<i2").tobytes())


def mafw_lists(root: Path) -> list[str]:
    """The lists of ten clips of two classes, one of each tested in each fold."""
    tree = trees.Tree(root, root.parent)
    trees.mafw(tree, LABELS)
    shutil.rmtree(root / "data")
    return [f"{1000 * i + fold:05}" for i in range(len(LABELS)) for fold in range(1, 6)]


def built(name: str, root: Path, probed: bool = False, **changes) -> tuple[pd.DataFrame, list[str]]:
    told: list[str] = []
    dataset = dataset_named(name, {"mine": MINE})[1].model_copy(update={"allow_incomplete": True, **changes})
    manifest = build_manifest(name, dataset, root, probe if probed else None, 1, 1.0, told.append)
    return manifest, told


@pytest.fixture(scope="module")
def mafw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MAFW with frames and clips."""
    root = tmp_path_factory.mktemp("mafw") / "raw"
    for clip_id in mafw_lists(root):
        write_frames(root / "data/frames" / clip_id, range(1, NUM_FRAMES + 1))
        write_clip(root / f"data/clips/{clip_id}.mp4")
    return root


@pytest.mark.parametrize("options", [(), ("--probe",)])
def test_the_command_takes_the_frames_and_says_so(mafw, tmp_path, options):
    out = tmp_path / "mafw.parquet"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "stages.manifest", "--dataset", "mafw", "--root", str(mafw), "--out", str(out)),
            *("--allow-incomplete", *options),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "frames" in line]
    assert "the video of 10 clips is a folder of face frames, such as data/frames/00001" in line
    assert "dataset.mafw.video: clips" in line
    manifest = pd.read_parquet(out).set_index("clip_id")
    assert manifest["status"].tolist() == ["ok"] * 10
    assert manifest.loc["01003", "video_path"] == "data/frames/01003"
    assert manifest.loc["01003", "audio_path"] == "data/clips/01003.mp4"
    if options:
        assert manifest["fps"].tolist() == [25.0] * 10
        assert manifest["num_frames"].tolist() == [NUM_FRAMES] * 10
        assert manifest["duration_seconds"].between(0.47, 0.55).all()
        assert manifest["sha256"].str.len().tolist() == [64] * 10
        assert (manifest["sha256"] != manifest["audio_sha256"]).all()


def test_the_clips_are_taken_where_they_are_asked_for(mafw):
    manifest, told = built("mafw", mafw, video="clips")
    assert manifest["video_path"].tolist() == manifest["audio_path"].tolist()
    assert manifest["video_path"][0] == "data/clips/00001.mp4"
    assert not any("frames" in line for line in told)


def test_audio_is_a_wav_where_there_is_no_clip(tmp_path):
    root = tmp_path / "raw"
    for clip_id in mafw_lists(root):
        write_frames(root / "data/frames" / clip_id, range(1, 11))
        write_wav(root / f"audio_16k/{clip_id}.wav", 0.5)
    manifest, told = built("mafw", root, probed=True)
    assert set(manifest["status"]) == {"ok"}
    assert manifest["audio_path"][0] == "audio_16k/00001.wav"
    assert manifest["fps"].tolist() == [20.0] * 10  # 10 frames in 0.5 s
    assert "dataset.mafw.video" not in "".join(told)
    assert built("mafw", root, probed=True, fps=25.0)[0]["fps"].tolist() == [25.0] * 10
    with pytest.raises(ValueError, match=r"no video file of any clip, which the dataset's `video: clips` asks for"):
        built("mafw", root, video="clips")


def test_frames_that_are_asked_for_must_be_there(tmp_path):
    root = tmp_path / "raw"
    for clip_id in mafw_lists(root):
        write_clip(root / f"data/clips/{clip_id}.mp4")
    assert built("mafw", root)[0]["video_path"][0] == "data/clips/00001.mp4"
    with pytest.raises(ValueError, match=r"no folder of face frames of any clip.*`video: frames`.*set it to clips"):
        built("mafw", root, video="frames")
    with pytest.raises(ValueError, match=r"dataset\.voxceleb2\.video is frames, but the video of id00012.* is a video"):
        built("voxceleb2", trees.voxceleb2(trees.Tree(tmp_path / "vox", tmp_path)).root, video="frames")


def test_what_is_wrong_with_a_clip_s_frames_is_a_row(mafw, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(mafw, root)
    frames = root / "data/frames"
    shutil.rmtree(frames / "00001")
    for path in (frames / "00002").iterdir():
        path.unlink()
    shutil.rmtree(frames / "00003")
    write_frames(frames / "00003/face", range(1, 5))
    (frames / "00004/7.png").write_bytes(encoded(face(7), "PNG"))
    for number in (1, 2):
        (frames / f"00005/{number}.jpg").write_bytes(b"")
    for path in (frames / "01001").iterdir():
        path.rename(path.with_stem("abcdefghijklmnop"[int(path.stem)]))
    (root / "data/clips/01002.mp4").write_bytes(b"")
    (root / "data/clips/01003.mp4").unlink()
    (frames / "01004/Thumbs.db").write_bytes(b"stray")
    (frames / "01005/3.jpg").write_bytes(b"damaged")
    manifest = built("mafw", root)[0].set_index("clip_id")
    assert manifest["status"].tolist() == ["missing", "no_video", "no_video", *["ok"] * 4, "missing", "ok", "ok"]
    assert manifest.loc["00001", "reason"] == (
        "data/frames/00001: no such file, but a video file, which `video: clips` would take"
    )
    assert (
        manifest.loc["00002", "reason"] == "data/frames/00002: this folder itself holds no image (jpg, jpeg, png, bmp)"
    )
    manifest = built("mafw", root, probed=True)[0].set_index("clip_id")
    assert manifest["status"].to_dict() == {
        "00001": "missing",
        "00002": "no_video",
        "00003": "no_video",
        "00004": "unreadable",
        "00005": "unreadable",
        "01001": "no_video",
        "01002": "zero_byte",
        "01003": "missing",
        "01004": "ok",
        "01005": "ok",
    }
    assert "two images have the number 7" in manifest.loc["00004", "reason"]
    assert "2 of 12 images are damaged" in manifest.loc["00005", "reason"]
    assert manifest.loc["01003", "reason"] == "data/clips/01003.mp4: no such file"


def test_dfew_numbers_have_zeros_and_sizes_a_preference(tmp_path):
    root = tmp_path / "raw"
    trees.dfew(trees.Tree(root, tmp_path))
    for order in range(6, 41):
        write_frames(root / f"Clip/jpg_256/{order:05}", range(1, 3))
        write_frames(root / f"Clip/clip_224x224_16f/{order:05}", range(1, 3))
    manifest = built("dfew", root)[0].set_index("clip_id")
    assert manifest.loc["12", ["video_path", "audio_path"]].tolist() == ["Clip/jpg_256/00012", "Clip/original/12.mp4"]
    for order in range(6, 40):
        write_frames(root / f"Clip/clip_224x224/{order:05}", range(1, 3), f"{order:05}_{{:05}}.jpg")
    manifest = built("dfew", root)[0].set_index("clip_id")
    assert manifest.loc["12", "video_path"] == "Clip/clip_224x224/00012"
    assert manifest.loc["40", "video_path"] == "Clip/jpg_256/00040"
    assert set(manifest["status"]) == {"ok"}
    shutil.rmtree(root / "Clip/original")
    for order in range(6, 41):
        write_wav(root / f"audio_16k/{order:05}.wav")
    assert built("dfew", root)[0].set_index("clip_id").loc["12", "audio_path"] == "audio_16k/00012.wav"


CREMA_D = [name for name in trees.CREMA_D_NAMES if name[:4] in ("1001", "1019", "1037", "1055", "1073")]


@pytest.mark.parametrize("layout", ["openface/{0}/{0}_aligned", "face_aligned/{0}", "face_aligned/{0}.FLV"])
def test_openface_s_crops_of_crema_d(tmp_path, layout):
    tree = trees.Tree(tmp_path / "raw", tmp_path)
    for name in CREMA_D[:40:4]:
        write_frames(tree.root / layout.format(name), range(1, 3), "frame_det_00_{:06}.bmp")
    tree.media(f"VideoFlash/{name}.flv" for name in CREMA_D)
    tree.media(f"AudioWAV/{name}.wav" for name in CREMA_D[::2]).media(f"audio_16k/{name}.wav" for name in CREMA_D[::2])
    manifest = built("crema_d", tree.root, probed=True)[0].set_index("clip_id")
    assert len(manifest) == len(CREMA_D)
    row = manifest.loc[CREMA_D[4]]
    assert row["video_path"] == layout.format(CREMA_D[4])
    assert row["audio_path"] == f"AudioWAV/{CREMA_D[4]}.wav"
    assert row["status"] == "ok"
    assert row["fps"] == 8.0, "the clip's, although the audio is another file's"
    assert manifest["status"].value_counts().to_dict() == {"missing": len(CREMA_D) - 10, "ok": 10}


def test_openface_s_own_video_is_no_clip(tmp_path):
    tree = trees.Tree(tmp_path / "raw", tmp_path)
    for name in CREMA_D:
        write_frames(tree.root / f"openface/{name}/{name}_aligned", range(1, 3), "frame_det_00_{:06}.bmp", side=16)
    write_frames(tree.root / f"face_aligned/{CREMA_D[1]}", range(1, 3), side=16)
    assert built("crema_d", tree.root)[0]["video_path"][1] == f"face_aligned/{CREMA_D[1]}"
    tree.media(f"VideoFlash/{name}.flv" for name in CREMA_D).media(f"openface/{name}/{name}.avi" for name in CREMA_D)
    frames, clips = (built("crema_d", tree.root, video=video)[0] for video in ("frames", "clips"))
    assert frames["audio_path"].tolist() == clips["video_path"].tolist() == [f"VideoFlash/{n}.flv" for n in CREMA_D]
    shutil.rmtree(tree.root / "VideoFlash")
    shutil.rmtree(tree.root / "openface" / CREMA_D[0])
    manifest = built("crema_d", tree.root)[0]
    assert len(manifest) == len(CREMA_D) - 1, "clips are listed by their frames, too"
    assert set(manifest["reason"]) == {f"VideoFlash/{name}.flv: no such file" for name in CREMA_D[1:]}


@pytest.mark.parametrize("modality", ["01", "02"])
def test_ravdess_frames_take_the_take_s_sound(tmp_path, modality):
    takes = [take for take in trees.ravdess_takes() if take.endswith(("-01-01-01", "-01-01-05"))]
    tree = trees.Tree(tmp_path / "raw", tmp_path)
    for take in takes:
        write_frames(tree.root / f"face_aligned/{modality}-{take}", range(1, 3), "frame_det_00_{:06}.bmp", side=16)
    tree.media(f"Actor_{take[-2:]}/01-{take}.mp4" for take in takes[::2])
    tree.media(f"audio/03-{take}.wav" for take in takes[1::2])
    manifest = built("ravdess", tree.root, probed=True)[0].set_index("clip_id")
    assert sorted(manifest.index) == sorted(f"{modality}-{take}" for take in takes)
    assert set(manifest["status"]) == {"ok"}
    assert manifest.loc[f"{modality}-{takes[0]}", "audio_path"] == f"Actor_{takes[0][-2:]}/01-{takes[0]}.mp4"
    assert manifest.loc[f"{modality}-{takes[1]}", "audio_path"] == f"audio/03-{takes[1]}.wav"


def test_frames_of_the_other_corpora(tmp_path):
    for name, grow in (
        ("werewolf_xl", trees.werewolf_xl),
        ("msp_improv", trees.msp_improv),
        ("iemocap", trees.iemocap),
    ):
        root = grow(trees.Tree(tmp_path / name, tmp_path)).root
        clips = built(name, root)[0]
        for clip_id in clips["clip_id"]:
            write_frames(root / f"face_aligned/{clip_id}", range(1, 3), side=16)
        frames, told = built(name, root)
        assert frames["video_path"].tolist() == [f"face_aligned/{clip_id}" for clip_id in clips["clip_id"]]
        assert frames["audio_path"].tolist() == clips["audio_path"].tolist()
        assert set(frames["status"]) == {"ok"}
        assert sum("face frames" in line for line in told) == 1


def test_two_folders_of_one_clip_are_refused(mafw, tmp_path):
    shutil.copytree(mafw, tmp_path / "raw")
    write_frames(tmp_path / "raw/faces/00001", range(1, 3))
    assert built("mafw", tmp_path / "raw")[0]["video_path"][0] == "data/frames/00001", "the corpus's own"
    write_frames(tmp_path / "raw/other/frames/00001", range(1, 3))
    with pytest.raises(ValueError, match=r"data/frames/00001 and other/frames/00001 hold frames of one clip"):
        built("mafw", tmp_path / "raw")


def csv_corpus(root: Path, rows: list[dict]) -> Path:
    root.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    return root


def test_a_table_names_folders_and_their_rate(tmp_path):
    rows = [
        {"clip_id": "wav", "video": " f/a/ ", "audio": "a.wav", "fps": "30"},
        {"clip_id": "spread", "video": "f/a", "audio": "a.wav", "fps": None},
        {"clip_id": "clip", "video": "f/a", "audio": "a.mp4", "fps": "50"},
        {"clip_id": "film", "video": "a.mp4", "audio": None, "fps": "99"},
        {"clip_id": "deaf", "video": "f/a", "audio": None, "fps": "30"},
        {"clip_id": "odd", "video": "f/a", "audio": "f/a/1.jpg", "fps": None},
        {"clip_id": "gone", "video": "f/b", "audio": "a.wav", "fps": None},
    ]
    root = csv_corpus(tmp_path, rows)
    write_frames(root / "f/a", range(1, NUM_FRAMES + 1))
    write_clip(root / "a.mp4")
    write_wav(root / "a.wav", 0.6)
    manifest, told = built("mine", root, probed=True)
    manifest = manifest.set_index("clip_id")
    assert manifest["status"].to_dict() == {
        **dict.fromkeys(["wav", "spread", "clip", "film"], "ok"),
        "deaf": "no_sound",
        "odd": "unreadable",
        "gone": "missing",
    }
    assert manifest["fps"].tolist()[:4] == [30.0, 20.0, 25.0, 25.0]
    assert manifest.loc["wav", "video_path"] == "f/a"
    assert manifest.loc["deaf", "reason"] == "f/a: is a folder of frames; name a file with the audio"
    assert "mine: fps is not used for 1 clips whose video is a file" in "".join(told)
    unprobed = built("mine", root)[0].set_index("clip_id")
    assert unprobed["status"].value_counts().to_dict() == {"ok": 5, "no_sound": 1, "missing": 1}
    with pytest.raises(ValueError, match=r"dataset\.mine\.video is clips, but the video of wav is a folder of frames"):
        built("mine", root, video="clips")


@pytest.mark.parametrize("word", ["fast", "0", "-25", "nan", "1000", "inf"])
def test_a_rate_that_is_none_is_refused(tmp_path, word):
    root = csv_corpus(tmp_path, [{"clip_id": "a", "video": "f/a", "audio": "a.wav", "fps": word}])
    write_frames(root / "f/a", range(1, 3))
    with pytest.raises(ValueError, match=f"fps of clip a is a number of frames per second, not '{word}'"):
        built("mine", root)


def here(work, clips):
    return map(work, clips)


def prepared(manifest: pd.DataFrame, root: Path, out: Path, **faces) -> tuple[ClipStore, ClipStore, dict]:
    faces = FACES.model_copy(update=faces)
    summary = prepare_faces(manifest, root, out / "faces", out / "a", faces, "single", PREPARATION, run=here)
    prepare_audio(manifest, root, out / "audio", out / "b", PREPARATION, run=here)
    return ClipStore(out / "faces"), ClipStore(out / "audio"), summary


def test_the_files_are_in_the_shards_and_the_shards_in_batches(mafw, tmp_path):
    manifest, _ = built("mafw", mafw, probed=True)
    faces, audio, summary = prepared(manifest, mafw, tmp_path)
    assert (summary["ok"], summary["num_frames"], summary["num_rejected"]) == (10, 10 * NUM_FRAMES, 0)
    for clip_id in manifest["clip_id"]:
        files = [(mafw / f"data/frames/{clip_id}/{n}.jpg").read_bytes() for n in range(1, NUM_FRAMES + 1)]
        assert faces[clip_id]["frames"].to_pylist() == files
    row = faces.index.iloc[0]
    assert row[["fps", "coverage", "share", "face_size", "num_faces", "reason"]].tolist() == [25.0, 1, 1, 64, 1, ""]
    dataset = dataset_named("mafw", {})[1]
    model = ModelParams(size="demo", image_size=32, num_frames=4, frame_stride=2, num_audio_frames=32)
    clips = ClipDataset.from_manifest(manifest, manifest["clip_id"].tolist(), faces, audio, dataset, model)
    batch = clips.test_batch([0, 7], 2)
    assert batch.frames.shape == (2, 2, 4, 64, 64, 3)
    np.testing.assert_array_equal(batch.frames[0, 0, 1].numpy(), decoded(files[2]))
    assert batch.labels.tolist() == [0, 2]
    assert prepared(manifest, mafw, tmp_path)[2]["num_reused"] == 10


def test_no_detector_runs_on_frames_whatever_it_is(mafw, tmp_path, monkeypatch):
    def fail(*_):
        raise AssertionError("a detector was asked")

    monkeypatch.setattr("hicmae_core.media.detection.CenterFace.detect", fail)
    manifest, _ = built("mafw", mafw)
    faces, _, summary = prepared(manifest, mafw, tmp_path, detector="centerface")
    assert summary["ok"] == 10
    assert faces.index["fps"].tolist() == [25.0] * 10, "the clip is probed where the manifest was not"


def test_what_is_lost_of_a_clip_is_in_its_row(mafw, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(mafw, root)
    (root / "data/frames/00001/3.jpg").write_bytes(b"\xff\xd8\xff damaged")
    for number in range(1, 8):
        (root / f"data/frames/00002/{number}.jpg").write_bytes(encoded(np.zeros((64, 64, 3), np.uint8)))
    for number in (4, 5):
        path = root / f"data/frames/00003/{number}.jpg"
        path.write_bytes(path.read_bytes()[:200])
    for number in range(1, 13):
        (root / f"data/frames/00004/{number}.jpg").write_bytes(encoded(np.zeros((64, 64, 3), np.uint8)))
    manifest, _ = built("mafw", root)
    faces, _, summary = prepared(manifest, root, tmp_path)
    assert json.loads(json.dumps(summary))["num_rejected"] == 2
    index = faces.index.set_index("clip_id")
    assert index["status"].tolist()[:4] == ["ok", "low_coverage", "unreadable", "no_face"]
    assert "1 of 12 images are damaged, such as 3.jpg" in index.loc["00001", "reason"]
    assert "7 of 12 images are black; its frames and their numbers show the face in 42%" in index.loc["00002", "reason"]
    assert faces["00001"]["frames"].to_pylist()[2] == (root / "data/frames/00001/2.jpg").read_bytes()
    too_long = prepare_faces(
        manifest, root, tmp_path / "c", tmp_path / "d", FACES, "single",
        PREPARATION.model_copy(update={"max_clip_seconds": 0.3}), run=here,
    )  # fmt: skip
    assert too_long["too_long"] == 10


@pytest.mark.parametrize("probed", [True, False])
def test_a_changed_folder_costs_itself(mafw, tmp_path, probed):
    root = tmp_path / "raw"
    shutil.copytree(mafw, root)

    def keys() -> pd.Series:
        manifest, _ = built("mafw", root, probed=probed)
        return wanted_clips(manifest, root, "settings", "video_path", "sha256").set_index("clip_id")["key"]

    def changed(act) -> list[str]:
        before = keys()
        act()
        after = keys()
        return after.index[before != after].tolist()

    frames = root / "data/frames"
    assert changed(lambda: None) == []
    assert changed(lambda: (frames / "00001/5.jpg").write_bytes(encoded(face(1)))) == ["00001"]
    assert changed(lambda: (frames / "00002/12.jpg").rename(frames / "00002/13.jpg")) == ["00002"]
    assert changed(lambda: (frames / "00003/12.jpg").unlink()) == ["00003"]
    assert changed(lambda: (frames / "00004/Thumbs.db").write_bytes(b"stray")) == []
    assert changed(lambda: write_clip(root / "data/clips/00005.mp4", 30)) == ["00005"], "its frames' rate is another"


def test_crops_of_several_sizes_are_read_as_most_are(mafw, tmp_path):
    """A corpus's own frames beside crops made here; a clip is shown alike whichever clips are read with it."""
    model = ModelParams(size="demo", image_size=32, num_frames=4, frame_stride=2, num_audio_frames=32)
    sides = [64, 96, 64, 64, 40]
    rows = [
        {"clip_id": f"c{i}", "fps": 25.0, "frames": [encoded(face(n, side)) for n in range(8)]}
        for i, side in enumerate(sides)
    ]
    write_shards(tmp_path / "faces", rows, FACES_SCHEMA, num_shards=1)
    store = ClipStore(tmp_path / "faces")
    clips = ClipDataset(store, store, store.clip_ids, None, model, modality="video")
    batch = clips.test_batch([1, 0, 4], 1)
    assert batch.frames.shape == (3, 1, 4, 64, 64, 3)
    for place, index in enumerate((1, 0, 4)):
        alone = clips.test_batch([index], 1)
        assert torch.equal(alone.frames[0], batch.frames[place])
        shown = batch.frames[place, 0, 0].numpy().astype(int)
        assert np.abs(shown - face(0, 64)).mean() < 15
    np.testing.assert_array_equal(batch.frames[1, 0, 0].numpy(), decoded(rows[0]["frames"][0]))
    some = [np.random.default_rng(0), np.random.default_rng(0)]
    assert clips.training_batch([4, 2], some).frames.shape == (2, 4, 64, 64, 3)


def test_copies_and_rejected_clips_are_shown_in_the_report(mafw, tmp_path):
    root = tmp_path / "raw"
    shutil.copytree(mafw, root)
    shutil.rmtree(root / "data/frames/00002")
    shutil.copytree(root / "data/frames/01001", root / "data/frames/00002")
    for number in range(1, 13):
        write_frames(root / "data/frames/00003", [number * 7 + 5])
        (root / f"data/frames/00003/{number}.jpg").unlink(missing_ok=True)
        (root / f"data/frames/00003/{number * 7 + 5}.jpg").rename(root / f"data/frames/00003/{number}.jpg")
    manifest, _ = built("mafw", root, probed=True)
    faces, audio, _ = prepared(manifest, root, tmp_path)
    found = find_duplicates(manifest, faces.index, audio.index)
    pairs = found[found["match"].str.contains("file") & found["clip_id"].isin(["00002", "01001"])]
    assert len(pairs) == 2
    assert "faces" in pairs["match"].iloc[0]
    rejects = manifest[manifest["clip_id"] == "00004"].assign(stage="faces", status="no_face")
    (shown,) = rejected_sheet(rejects, root).pictures
    assert shown.caption == "00004: no_face (faces)"
