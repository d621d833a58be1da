import io

import numpy as np
import pytest
from PIL import Image

from hicmae_core.config import FacesParams
from hicmae_core.media.decoding import probe, read_audio
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import FaceTrack, extract_face
from tests.conftest import ROOT
from tests.media.films import background, picture, talking_head, write_film

CLIPS = ROOT.parent / "shared" / "clips"
FACES = FacesParams(detect_size=256, size=96)


@pytest.fixture(scope="module")
def detector() -> CenterFace:
    return CenterFace(FACES.detect_size, FACES.min_score)


def centres(track: FaceTrack) -> np.ndarray:
    return (track.boxes[:, :2] + track.boxes[:, 2:]) / 2


def decode(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def test_one_upright_crop_per_frame_on_the_face(films, detector):
    track = extract_face(films / "good.mp4", FACES, detector)
    _, truth = talking_head()
    assert (track.status, track.reason, track.fps, track.num_faces) == ("ok", "", 25.0, 1)
    assert track.usable
    assert track.coverage == 1
    assert len(track.frames) == len(track.boxes) == 50
    side = track.boxes[:, 2] - track.boxes[:, 0]
    error = (centres(track) - truth) / side[:, None]
    assert np.abs(error.mean(0)).max() < 0.06  # where exactly a box ends is the detector's taste
    assert np.percentile(np.hypot(*(error - error.mean(0)).T), 95) < 0.05
    assert {decode(jpeg).shape for jpeg in track.frames} == {(96, 96, 3)}
    for found in CenterFace(96).detect([decode(jpeg) for jpeg in track.frames[::7]]):
        np.testing.assert_allclose(found.points[0, :2].mean(0) / 96, [0.5, 0.385], atol=0.08)


def test_the_fast_way_agrees_with_detection_on_every_frame(films, detector):
    fast = extract_face(films / "good.mp4", FACES, detector)
    plain = extract_face(films / "good.mp4", FACES.model_copy(update={"stride": 1}), detector)
    side = plain.boxes[:, 2] - plain.boxes[:, 0]
    error = np.hypot(*(centres(fast) - centres(plain)).T) / side
    assert np.percentile(error, 95) < 0.05


def test_it_is_the_same_every_time(films, detector):
    first, second = (extract_face(films / "good.mp4", FACES, one) for one in (detector, CenterFace(256, 0.5)))
    assert first.frames == second.frames


def test_a_second_person_changes_nothing_but_the_count(tmp_path, detector):
    def scene(*others: tuple[float, float, float]) -> list[np.ndarray]:
        return [picture([(110 + k / 2, 120, 110), *others]) for k in range(20)]

    alone = extract_face(write_film(tmp_path / "one.mp4", scene()), FACES, detector)
    joined = extract_face(write_film(tmp_path / "two.mp4", scene((265, 110, 60))), FACES, detector)
    assert (alone.status, joined.status) == ("ok", "ok")
    assert (alone.num_faces, joined.num_faces) == (1, 2)
    np.testing.assert_allclose(joined.boxes, alone.boxes, atol=6)


def test_a_face_that_comes_late_is_flagged_and_kept_aligned(tmp_path, detector):
    frames = [background()] * 45 + [picture([(160, 120, 90)])] * 15
    track = extract_face(write_film(tmp_path / "late.mp4", frames), FACES, detector)
    assert track.status == "low_coverage"
    assert "25%" in track.reason
    assert track.coverage == pytest.approx(15 / 60, abs=0.04)
    assert len(track.frames) == 60
    assert track.frames[0] == track.frames[20]  # the nearest crop, repeated


def test_openface_crops_are_tighter(films, detector):
    tight = extract_face(films / "good.mp4", FACES.model_copy(update={"preset": "openface"}), detector)
    (found,) = CenterFace(96).detect([decode(tight.frames[10])])
    assert found.points[0, :2, 1].mean() / 96 == pytest.approx(0.27, abs=0.06)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("faceless.mp4", "no_face"),
        ("zero.mp4", "zero_byte"),
        ("absent.mp4", "missing"),
        ("text.mp4", "unreadable"),
        ("truncated.mp4", "unreadable"),
    ],
)
def test_a_file_without_a_usable_face_says_why(films, detector, name, status):
    track = extract_face(films / name, FACES, detector)
    assert track.status == status
    assert name in track.reason
    assert not track.usable


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not here ({CLIPS})")
@pytest.mark.parametrize("name", ["d12", "d18", "d19", "d20", "s32"])
def test_real_clips(name):
    path = CLIPS / f"{name}.mp4"
    track = extract_face(path, FacesParams(), CenterFace())
    info = probe(path)
    assert (track.status, track.num_faces) == ("ok", 1)
    assert track.coverage > 0.99
    assert len(track.frames) == info.num_frames
    assert len(read_audio(path)) / 16_000 == pytest.approx(info.num_frames / info.fps, abs=0.05)
    found = CenterFace(160).detect([decode(jpeg) for jpeg in track.frames[::25]])
    assert all(len(faces) == 1 for faces in found)
    heights = [faces.points[0, :2, 1].mean() / 160 for faces in found]
    assert np.median(heights) == pytest.approx(0.385, abs=0.06)


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not here ({CLIPS})")
@pytest.mark.parametrize("name", ["h264_10bits", "nasa_13013"])
def test_real_clips_without_a_face(name):
    assert extract_face(CLIPS / f"{name}.mp4", FacesParams(), CenterFace()).status == "no_face"
