import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from hicmae_core.config import FacesParams
from hicmae_core.media import faces as faces_module
from hicmae_core.media.decoding import probe
from hicmae_core.media.detection import CenterFace, Detections, make_detector
from hicmae_core.media.faces import FaceTrack, extract_face, extract_faces
from tests.conftest import ROOT
from tests.media.films import background, picture, talking_head, write_film, write_full_hd

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


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large face for 1.6 s, no face for .8 s, a small face for 1.2 s."""
    nobody = [255 - background()[::-1, ::-1]] * 20
    frames = [picture([(110, 120, 110)])] * 40 + nobody + [picture([(230, 120, 60)])] * 30
    return write_film(tmp_path_factory.mktemp("shots") / "shots.mp4", frames)


def extract(path: Path, policy: str, detector: CenterFace, max_seconds: float = 60) -> list[FaceTrack]:
    return extract_faces(path, FACES, policy, detector, max_seconds)


def test_single_follows_the_main_face_and_stitch_the_best_of_each_shot(three_shots, detector):
    (single,) = extract(three_shots, "single", detector)
    (stitched,) = extract(three_shots, "stitch", detector)
    assert len(single.frames) == len(stitched.frames) == 90
    np.testing.assert_allclose(centres(single)[[5, 50, 80], 0], 110, atol=6)
    assert single.coverage == pytest.approx(40 / 90)
    assert (single.status, stitched.status) == ("low_coverage", "ok")
    assert 0.7 < single.share < 0.9  # 110 x 40 against 60 x 30 off centre
    np.testing.assert_allclose(centres(stitched)[[5, 45, 56, 80], 0], [110, 110, 230, 230], atol=6)
    assert stitched.coverage == pytest.approx(70 / 90)
    assert stitched.share == 1
    assert stitched.frames[45] == stitched.frames[39]
    assert stitched.frames[56] == stitched.frames[60]
    assert stitched.frames[65] != stitched.frames[39]
    assert single.face_size == pytest.approx(105, abs=10)


def test_all_faces_of_two_seconds_are_samples_of_their_own(tmp_path, detector):
    def heads(k: int) -> list[tuple[float, float, float]]:
        return [(90, 120, 90)] * (k < 60) + [(240, 120, 70)] * (k >= 20) + [(165, 200, 40)] * (30 <= k < 60)

    path = write_film(tmp_path / "two.mp4", [picture(heads(k)) for k in range(80)])
    left, right = extract(path, "all", detector)
    assert [len(track.frames) for track in (left, right)] == pytest.approx([60, 60], abs=1)
    assert [track.start_seconds for track in (left, right)] == pytest.approx([0, 20 / 25], abs=0.04)
    assert {track.coverage for track in (left, right)} == {1.0}
    assert left.share > right.share
    np.testing.assert_allclose(centres(left)[:, 0], 90, atol=6)
    np.testing.assert_allclose(centres(right)[:, 0], 240, atol=6)
    for track in (left, right):
        assert all(len(found) == 1 for found in CenterFace(96).detect([decode(jpeg) for jpeg in track.frames[::9]]))
    (single,) = extract(path, "single", detector)
    start = round(left.start_seconds * left.fps)
    np.testing.assert_allclose(left.boxes, single.boxes[start : start + len(left.boxes)])


def test_all_says_when_no_face_lasts(three_shots, films, detector):
    (track,) = extract(three_shots, "all", detector)
    assert (track.status, track.usable) == ("short_face", False)
    assert "2 s" in track.reason
    assert [track.status for track in extract(films / "faceless.mp4", "all", detector)] == ["no_face"]


def test_one_face_among_others_is_flagged(tmp_path, detector):
    crowd = picture([(80, 70, 70), (240, 70, 70), (160, 175, 70)])
    (track,) = extract(write_film(tmp_path / "crowd.mp4", [crowd] * 15), "single", detector)
    assert track.status == "low_share"
    assert f"{track.share:.0%}" in track.reason
    assert 1 / 3 < track.share < 1 / 2
    assert (track.usable, track.num_faces) == (True, 3)


@pytest.mark.parametrize("policy", ["single", "stitch", "all"])
def test_without_a_detector_the_whole_picture_is_the_face(films, policy):
    faces = FACES.model_copy(update={"detector": "none"})
    (track,) = extract_faces(films / "faceless.mp4", faces, policy, make_detector(faces), 60)
    assert (track.status, track.coverage, track.share, track.num_faces) == ("ok", 1, 1, 1)
    assert (track.face_size, track.start_seconds, len(track.frames)) == (240, 0, 15)
    np.testing.assert_array_equal(track.boxes, [[40, 0, 280, 240]] * 15)
    expected = cv2.resize(background()[:, 40:280], (96, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(decode(track.frames[7]).astype(int) - expected).mean() < 3


def test_a_film_that_declares_too_much_is_not_decoded(films, detector):
    (track,) = extract(films / "good.mp4", "single", detector, max_seconds=1.5)
    assert (track.status, track.usable) == ("too_long", False)
    assert "2.0 s" in track.reason
    assert "1.5 s" in track.reason
    (track,) = extract(films / "good.mp4", "single", detector, max_seconds=2.0)
    assert track.status == "ok"


def test_a_film_that_runs_on_is_left_early(tmp_path):
    path = tmp_path / "live.mkv"
    with av.open(str(path), "w", options={"live": "1"}) as container:  # no length in its header
        stream = container.add_stream("libx264", rate=25, width=320, height=240)
        for _ in range(100):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(background(), format="rgb24")))
        container.mux(stream.encode(None))
    assert probe(path).duration_seconds == 0
    detector = Counting()
    (track,) = extract_faces(path, FACES, "single", detector, 1.0)
    assert track.status == "too_long"
    assert detector.num_pictures <= 1 + 25 / FACES.stride


class Counting(CenterFace):
    """CenterFace that counts what it is shown."""

    num_pictures = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.num_pictures += len(images)
        return super().detect(images)


def test_a_film_too_large_to_keep_gives_the_same(films, detector, monkeypatch):
    kept = extract_face(films / "good.mp4", FACES, detector)
    monkeypatch.setattr(faces_module, "KEPT_BYTES", 20 * 320 * 240)
    decoded_again = extract_face(films / "good.mp4", FACES, detector)
    assert decoded_again.frames == kept.frames


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


PEAK_MEMORY = """
import sys
from pathlib import Path
from hicmae_core.config import FacesParams
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_face
num_frames = len(extract_face(Path(sys.argv[1]), FacesParams(), CenterFace()).frames)
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(num_frames, int(peak) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_a_long_film_takes_no_more_memory_than_a_short_one(tmp_path):
    peaks = []
    for seconds in (10, 30):
        film = write_full_hd(tmp_path / f"{seconds}.mp4", seconds)
        command = [sys.executable, "-c", PEAK_MEMORY, str(film)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        num_frames, peak_mib = map(int, done.stdout.split())
        assert num_frames == 25 * seconds
        peaks.append(peak_mib)
    assert peaks[1] - peaks[0] < 100  # the images differ by 3 GB
