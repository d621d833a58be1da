from collections.abc import Sequence

import av
import numpy as np
import pytest

from hicmae_core.media.decoded_frame import DecodedFrame
from hicmae_core.media.detection import Detections
from hicmae_core.media.tracking import link, observe
from tests.media.films import background
from tests.media.sightings import faces, seen_by


class Script:
    """A detector that reads the frame's number in its first pixel and answers from a script."""

    eye_height = 0.385
    eye_distance = 0.345

    def __init__(self, answers: Sequence[Detections]) -> None:
        self.answers = answers
        self.looked_at: list[int] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        numbers = [int(image[0, 0, 0]) for image in images]
        self.looked_at += numbers
        return [self.answers[number] for number in numbers]

    def careful(self) -> "Script":
        return self


def numbered(num_frames: int, cut_at: int | None = None) -> list[DecodedFrame]:
    pictures = []
    for number in range(num_frames):
        image = background()
        if cut_at is not None and number >= cut_at:
            image = 255 - image[:, ::-1]
        image[0, 0] = number
        pictures.append(DecodedFrame(av.VideoFrame.from_ndarray(image, format="rgb24")))
    return pictures


def test_a_still_face_is_looked_at_every_fourth_frame_and_the_last():
    script = Script([faces((100, 100, 60))] * 18)
    seen = observe(numbered(18), script, 4)
    assert script.looked_at == [0, 4, 8, 12, 16, 17]
    assert [frame for frame, _ in seen.faces] == script.looked_at
    assert (seen.num_frames, seen.width, seen.height) == (18, 320, 240)


def test_frames_between_are_looked_at_where_a_face_moved():
    answers = [faces((100 + (30 if 4 < k <= 8 else 0), 100, 60)) for k in range(13)]
    seen = observe(numbered(13), Script(answers), 4)
    assert [frame for frame, _ in seen.faces] == [0, 4, 5, 6, 8, 9, 10, 12]


@pytest.mark.parametrize(("appears_at", "looks"), [(6, [5, 6]), (8, [6, 7])])
def test_frames_between_are_looked_at_where_a_face_comes(appears_at, looks):
    answers = [faces((100, 100, 60)) if k >= appears_at else faces() for k in range(17)]
    seen = observe(numbered(17), Script(answers), 4)
    assert [frame for frame, _ in seen.faces] == [0, 4, *looks, 8, 12, 16]


def test_a_small_face_beside_a_large_one_does_not_call_for_a_look():
    answers = [faces((100, 100, 80), (250, 60 + 10 * k, 20)) for k in range(9)]
    assert [frame for frame, _ in observe(numbered(9), Script(answers), 4).faces] == [0, 4, 8]


def test_a_cut_splits_shots_and_is_looked_at_closely():
    seen = observe(numbered(16, cut_at=6), Script([faces((100, 100, 60))] * 16), 4)
    assert seen.shots == [0] * 6 + [1] * 10
    assert [frame for frame, _ in seen.faces] == [0, 4, 5, 6, 8, 12, 15]
    assert [track.frames for track in link(seen)] == [[0, 4, 5], [6, 8, 12, 15]]


def test_two_people_who_move_stay_two_tracks():
    answers = [faces((60 + 2 * k, 100, 60), (260 - 2 * k, 120, 50)) for k in range(20)]
    answers = [one if k % 2 else faces(*reversed_(one)) for k, one in enumerate(answers)]
    tracks = link(seen_by(answers))
    assert [len(track.frames) for track in tracks] == [20, 20]
    for track in tracks:
        heights = {round(float(box[3] - box[1])) for box in track.boxes}
        assert len(heights) == 1


def reversed_(found: Detections) -> list[tuple[float, float, float]]:
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    sides = found.boxes[:, 2] - found.boxes[:, 0]
    return [(*centre, side) for centre, side in zip(centres.tolist(), sides.tolist(), strict=True)][::-1]
