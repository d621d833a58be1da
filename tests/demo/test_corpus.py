"""The demo corpus as files: what is in them, that the same seed gives the same bytes, that its faces are found."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from hicmae_core.config import SAMPLE_RATE_HZ, CorpusParams, FacesParams
from hicmae_core.demo.corpus import generate_corpus
from hicmae_core.demo.performance import FRAME_RATE_HZ
from hicmae_core.demo.rendering import Studio
from hicmae_core.demo.script import EMOTIONS, FLAWS, num_broken, write_script
from hicmae_core.files import sha256_of
from hicmae_core.media.decoding import MediaError, probe, read_audio, read_frames
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_face

SMALL = CorpusParams(
    seed=3,
    num_speakers=4,
    num_takes=1,
    num_unlabelled_speakers=2,
    num_unlabelled_clips=4,
    min_seconds=1.0,
    max_seconds=1.4,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int | float]]:
    folder = tmp_path_factory.mktemp("raw")
    return folder, generate_corpus(SMALL, folder, num_processes=2)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def film_flaws(folder: Path) -> dict[str, Path]:
    """One broken clip of each kind, by its flaw."""
    labelled, _ = write_script(SMALL.model_copy(update={"num_takes": 8}), FRAME_RATE_HZ)
    broken = [clip for clip in labelled if clip.flaw != "none"]
    assert [clip.flaw for clip in broken] == list(FLAWS)
    studio = Studio()
    for clip in broken:
        studio.render(clip, folder)
    return {clip.flaw: folder / clip.file for clip in broken}


def test_tables_name_every_clip_with_subject_emotion_and_fold(corpus):
    folder, summary = corpus
    rows = table(folder / "demo" / "labels.csv")
    assert list(rows[0]) == ["clip_id", "file", "subject", "emotion", "fold"]
    sound = [row for row in rows if "broken" not in row["clip_id"]]
    assert Counter(row["emotion"] for row in sound) == dict.fromkeys(EMOTIONS, 4)
    assert len(sound) == summary["num_labelled"] == 16
    assert len(rows) - len(sound) == summary["num_broken"] == 1
    assert {row["subject"]: int(row["fold"]) for row in rows} == {"SP01": 1, "SP02": 2, "SP03": 3, "SP04": 4}
    assert all((folder / "demo" / row["file"]).is_file() for row in rows)
    unlabelled = table(folder / "demo_unlabelled" / "unlabelled.csv")
    assert list(unlabelled[0]) == ["clip_id", "file", "subject"]
    assert len(unlabelled) == 4
    assert all((folder / "demo_unlabelled" / row["file"]).is_file() for row in unlabelled)
    assert not {row["subject"] for row in unlabelled} & {row["subject"] for row in rows}


def test_clips_are_h264_and_aac_at_25_fps_with_sound_as_long_as_the_picture(corpus):
    folder, _ = corpus
    for row in table(folder / "demo" / "labels.csv")[:4]:
        path = folder / "demo" / row["file"]
        info = probe(path)
        assert info.fps == FRAME_RATE_HZ
        assert info.has_audio
        assert 25 <= info.num_frames <= 35
        frames = [frame for _, frame in read_frames(path)]
        assert len(frames) == info.num_frames
        sound = read_audio(path)
        assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(info.num_frames / FRAME_RATE_HZ, abs=0.1)
        assert np.sqrt(np.mean(sound**2)) > 0.01


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_another_seed_gives_others(corpus, tmp_path):
    folder, _ = corpus
    for seed, same in ((3, True), (4, False)):
        labelled, unlabelled = write_script(SMALL.model_copy(update={"seed": seed}), FRAME_RATE_HZ)
        studio = Studio()
        for name, clip in (("demo", labelled[5]), ("demo_unlabelled", unlabelled[1]), ("demo", labelled[0])):
            studio.render(clip, tmp_path / str(seed) / name)
            first, second = folder / name / clip.file, tmp_path / str(seed) / name / clip.file
            assert (sha256_of(first) == sha256_of(second)) is same


def test_sheets_are_pictures_with_something_on_them(corpus):
    folder, _ = corpus
    for name in ("contact_sheet.png", "spectrograms.png"):
        picture = cv2.imread(str(folder / "demo" / name))
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 30


def test_a_real_detector_finds_the_face_in_99_percent_of_frames(corpus):
    folder, _ = corpus
    detector = CenterFace(256, 0.5)
    clips = [path for path in sorted(folder.rglob("*.mp4")) if "broken" not in path.name]
    frames = [frame for path in clips for _, frame in list(read_frames(path))[::6]]
    found = [len(detections) == 1 for detections in detector.detect(frames)]
    assert len(found) > 80
    assert np.mean(found) >= 0.99


def test_each_broken_clip_is_broken_as_its_name_says(tmp_path):
    flaws = film_flaws(tmp_path)
    detector = CenterFace(256, 0.5)
    first_frames = {flaw: next(read_frames(flaws[flaw]))[1] for flaw in ("no_face", "no_sound", "second_person")}
    assert [len(found) for found in detector.detect(list(first_frames.values()))] == [0, 1, 2]
    both = detector.detect([first_frames["second_person"]])[0]
    areas = np.prod(both.boxes[:, 2:] - both.boxes[:, :2], -1)
    assert areas.max() > 2 * areas.min()
    followed = extract_face(flaws["second_person"], FacesParams(detect_size=256), detector)
    assert followed.status == "ok"
    np.testing.assert_allclose(followed.boxes[0], both.boxes[areas.argmax()], atol=15)
    assert not probe(flaws["no_sound"]).has_audio
    with pytest.raises(MediaError, match="decoded") as caught:
        probe(flaws["truncated"])
    assert caught.value.status == "unreadable"
    assert flaws["zero_byte"].stat().st_size == 0


@pytest.mark.parametrize(("num_labelled", "expected"), [(16, 1), (48, 2), (192, 5), (5000, 5)])
def test_few_clips_are_broken(num_labelled, expected):
    assert num_broken(num_labelled) == expected
    assert expected / (num_labelled + expected) < 0.06


def test_a_flawed_clip_leaves_no_partial_file(tmp_path):
    film_flaws(tmp_path)
    assert not list(tmp_path.rglob("*.part"))
