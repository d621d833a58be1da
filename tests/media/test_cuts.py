"""One odd frame, or a cut, does not decide for all that follows; what stands still is flagged."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hicmae_core.config import CorpusParams, FacesParams
from hicmae_core.demo.face import FaceRenderer, Pose, backdrop, place, to_bytes
from hicmae_core.demo.script import write_script
from hicmae_core.media.decoding import read_decoded_frames
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import FaceTrack, extract_face, extract_faces
from hicmae_core.media.tracking import link, observe, portraits_of
from hicmae_core.store.manifest import USABLE
from tests.media.films import FPS, background, picture, write_film

FACES = FacesParams(detect_size=256, size=96)
WHITE, BLACK = np.full((240, 320, 3), 255, np.uint8), np.zeros((240, 320, 3), np.uint8)


@pytest.fixture(scope="module")
def detector() -> CenterFace:
    return CenterFace(FACES.detect_size, FACES.min_score)


def talk(num_frames: int, x: float = 150, side: float = 90) -> list[np.ndarray]:
    """A head that sways, so that no two crops are the same."""
    return [picture([(x + 8 * np.sin(k / 4), 115 + k / 8, side)]) for k in range(num_frames)]


def noise(seed: int) -> np.ndarray:
    """A frame of another video."""
    grain = np.random.default_rng(seed).integers(0, 255, (15, 20, 3), np.uint8)
    return cv2.resize(grain, (320, 240), interpolation=cv2.INTER_NEAREST)


def inverted(image: np.ndarray) -> np.ndarray:
    return 255 - image[::-1]


def extract(folder: Path, frames: Sequence[np.ndarray], detector: CenterFace, policy: str = "single") -> FaceTrack:
    (track,) = extract_faces(write_film(folder / "film.mp4", frames), FACES, policy, detector, 60)
    return track


def shots_of(path: Path) -> list[int]:
    return observe((one for _, one in read_decoded_frames(path)), CenterFace(256), 4, 15).shots


def shows_a_face(jpeg: bytes) -> bool:
    (found,) = CenterFace(96).detect([np.asarray(Image.open(io.BytesIO(jpeg)))])
    return len(found) > 0


ODD = {
    "one white": {40: WHITE},
    "one black": {41: BLACK},
    "several white": dict.fromkeys(range(38, 48), WHITE),
    "white and black": {40: WHITE, 41: BLACK, 42: WHITE, 43: BLACK},
    "glitches": {k: noise(k) for k in range(40, 45)},
    "strobe, every fifth": dict.fromkeys(range(3, 80, 5), WHITE),
    "strobe, every third": dict.fromkeys(range(1, 79, 3), WHITE),
    "first": {0: WHITE},
    "last": {79: BLACK},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_frames_are_no_cut(tmp_path, detector, name):
    frames = talk(80)
    for index, image in ODD[name].items():
        frames[index] = image
    track = extract(tmp_path, frames, detector)
    assert (track.status, track.num_frozen) == ("ok", 0), track.reason
    assert track.coverage >= 1 - len(ODD[name]) / 80 - 1e-9
    assert len(track.frames) == 80
    assert len(set(track.frames)) == 80 - len(ODD[name])
    assert all(shows_a_face(track.frames[index]) for index in ODD[name])  # not a crop of the flash
    assert track.share == pytest.approx(1)


def test_a_flash_that_fades_and_a_fade_to_black_are_no_cut(tmp_path, detector):
    frames = talk(80)
    for step in range(8):
        frames[20 + step] = cv2.addWeighted(WHITE, 1 - step / 8, frames[20 + step], step / 8, 0)
        frames[50 + step] = cv2.addWeighted(BLACK, step / 7, frames[50 + step], 1 - step / 7, 0)
        frames[57 + step] = cv2.addWeighted(BLACK, 1 - step / 7, frames[57 + step], step / 7, 0)
    track = extract(tmp_path, frames, detector)
    assert (track.status, track.num_frozen) == ("ok", 0), track.reason
    assert len(set(track.frames)) > 70


def test_a_dissolve_between_two_takes_goes_on(tmp_path, detector):
    first, second = talk(50), talk(50, x=165)
    mixed = [cv2.addWeighted(first[40 + k], 1 - k / 10, second[k], k / 10, 0) for k in range(10)]
    track = extract(tmp_path, [*first[:40], *mixed, *second[10:]], detector)
    assert (track.status, track.num_frozen) == ("ok", 0), track.reason
    assert track.coverage > 0.9
    assert len(set(track.frames)) > 80


def scene(x: int, y: int, zoom: float = 1.0) -> list[np.ndarray]:
    """Forty frames of a camera on one person before a busy wall, which is another part of the wall for another x, y."""
    wall = np.random.default_rng(0).integers(40, 200, (40, 50, 1), np.uint8) * np.ones(3, np.uint8)
    wall = cv2.resize(wall, (1000, 800), interpolation=cv2.INTER_CUBIC)[y : y + 240, x : x + 320]
    frames = []
    for image in talk(40, side=80 * zoom):
        is_head = np.abs(image.astype(int) - background()).sum(-1, keepdims=True) > 6
        frames.append(np.where(is_head, image, wall))
    return frames


@pytest.mark.parametrize("zoom", [1.0, 1.25, 0.8])
def test_a_face_goes_on_over_a_jump_cut(tmp_path, detector, zoom):
    frames = [*scene(0, 0), *scene(90, 130, zoom)]
    path = write_film(tmp_path / "jump.mp4", frames)
    assert shots_of(path) == [0] * 40 + [1] * 40
    track = extract_face(path, FACES, detector)
    assert (track.status, track.num_frozen, track.coverage) == ("ok", 0, 1.0), track.reason
    assert len(set(track.frames)) == 80
    assert track.share == pytest.approx(1)


def test_many_jump_cuts_weigh_as_one_face(tmp_path, detector):
    """Four pieces of one person against a longer piece of another."""
    pieces = [frame for place_ in ((0, 0), (90, 130), (300, 60), (500, 400)) for frame in scene(*place_)[:30]]
    path = write_film(tmp_path / "jumps.mp4", [*pieces, *person(1, 45)])
    track = extract_face(path, FACES, detector)
    assert track.status == "frozen_face"
    assert len(set(track.frames)) >= 120
    assert track.num_frozen == 45 - 15


def person(index: int, num_frames: int) -> list[np.ndarray]:
    """One of the demo's speakers before a wall of their own, as large as the videos are."""
    speakers = {clip.speaker.name: clip.speaker for clip in write_script(CorpusParams(), FPS)[0]}
    renderer, room = FaceRenderer(list(speakers.values())[index]), backdrop(np.random.default_rng(index))
    frames = []
    for k in range(num_frames):
        image = to_bytes(place(renderer.at_rest(), Pose(x=4 * np.sin(k / 4), y=k / 10, roll=0, scale=0.8), room))
        frames.append(cv2.resize(image, (320, 240)))
    return frames


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (0, 3)])
def test_a_cut_to_another_person_joins_nobody_and_is_flagged(tmp_path, detector, pair):
    path = write_film(tmp_path / "cut.mp4", [*person(pair[0], 60), *person(pair[1], 50)])
    track = extract_face(path, FACES, detector)
    assert set(shots_of(path)) == {0, 1}
    assert track.status == "frozen_face"
    assert track.status in USABLE
    assert track.usable
    assert track.coverage == pytest.approx(60 / 110)
    assert track.num_frozen == 50 - 15
    assert "35 of 110 crops repeat one" in track.reason
    assert len(set(track.frames[60:])) == 1


def test_a_face_goes_on_after_a_cut_away(tmp_path, detector):
    there = [inverted(background())] * 30
    track = extract(tmp_path, [*scene(0, 0), *there, *scene(90, 130)], detector)
    assert track.coverage == pytest.approx(80 / 110)
    assert len(set(track.frames)) == 80
    assert (track.status, track.num_frozen) == ("ok", 0)  # 1.2 s, of which no crop is more than .6 s away
    longer = extract(tmp_path, [*scene(0, 0), *there, *there, *scene(90, 130)], detector)
    assert (longer.status, longer.num_frozen) == ("frozen_face", 30)


def test_a_face_elsewhere_or_of_other_colours_is_not_joined(tmp_path, detector):
    elsewhere = [np.roll(frame, 110, 1) for frame in scene(90, 130)]
    tinted = [(frame * np.array([0.5, 0.8, 1.0])).astype(np.uint8) for frame in scene(90, 130)]
    for frames in (elsewhere, tinted):
        track = extract(tmp_path, [*scene(0, 0), *frames], detector)
        assert track.status == "frozen_face"
        assert track.num_frozen == 40 - 15


def test_faces_in_odd_frames_are_kept_apart(detector):
    frames = talk(40)
    other = person(1, 6)
    frames[20:26] = other

    class Frame:
        width, height = 320, 240

        def __init__(self, image: np.ndarray) -> None:
            self.image = image

        def rgb(self) -> np.ndarray:
            return self.image

        def luma(self) -> np.ndarray:
            return cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)

    seen = observe(map(Frame, frames), detector, 4, 15)
    assert seen.shots == [0] * 20 + [1] * 6 + [0] * 14
    longest, *others = sorted(link(seen), key=lambda track: -len(track.frames))
    assert not set(longest.frames) & set(range(20, 26))
    assert (longest.frames[0], longest.frames[-1]) == (0, 39)
    assert all(set(track.frames) <= set(range(20, 26)) for track in others)


def test_portraits_are_shares_of_colours():
    red = np.zeros((100, 100, 3), np.uint8)
    red[..., 0] = 255
    red[:50, :, 2] = 255
    boxes = np.array([[40, 40, 60, 60], [90, 90, 140, 140], [45, 80, 55, 90]], np.float32)
    portraits = portraits_of(red, boxes)
    assert portraits.shape == (3, 512)
    np.testing.assert_allclose(portraits.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(np.sort(portraits[0])[-2:], 0.5, atol=0.03)
    assert portraits[2].max() == 1
