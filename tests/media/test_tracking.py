from collections.abc import Sequence

import numpy as np
import pytest

from hicmae_core.media.detection import Detections
from hicmae_core.media.tracking import (
    Observations,
    count_faces,
    credible_tracks,
    link,
    main_track,
    observe,
    smooth_path,
)
from tests.media.films import background

FPS = 25.0


def faces(*squares: tuple[float, float, float], score: float = 0.9, roll: float = 0.0) -> Detections:
    """Faces given by centre x, centre y and side, with eyes at the slope of `roll`."""
    values = np.array(squares, np.float32).reshape(-1, 3)
    half = values[:, 2:] / 2
    boxes = np.concatenate([values[:, :2] - half, values[:, :2] + half], 1)
    points = np.repeat(values[:, None, :2], 5, 1)
    offset = 0.1725 * values[:, 2:] * np.array([np.cos(roll), np.sin(roll)], np.float32)
    points[:, 0] -= offset
    points[:, 1] += offset
    return Detections(boxes, np.full(len(values), score, np.float32), points)


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


def numbered(num_frames: int, cut_at: int | None = None) -> list[np.ndarray]:
    frames = []
    for number in range(num_frames):
        image = background()
        if cut_at is not None and number >= cut_at:
            image = 255 - image[:, ::-1]
        image[0, 0] = number
        frames.append(image)
    return frames


def seen_by(answers: Sequence[Detections], shots: Sequence[int] | None = None) -> Observations:
    return Observations(list(enumerate(answers)), list(shots or [0] * len(answers)), 320, 240)


def test_a_still_face_is_looked_at_every_fourth_frame_and_the_last():
    script = Script([faces((100, 100, 60))] * 18)
    seen = observe(numbered(18), script, 4)
    assert script.looked_at == [0, 4, 8, 12, 16, 17]
    assert [frame for frame, _ in seen.faces] == script.looked_at
    assert (seen.num_frames, seen.width, seen.height) == (18, 320, 240)


def test_frames_between_are_looked_at_where_a_face_moved():
    answers = [faces((100 + (30 if 4 < k <= 8 else 0), 100, 60)) for k in range(13)]
    seen = observe(numbered(13), Script(answers), 4)
    assert [frame for frame, _ in seen.faces] == [0, 4, 5, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("appears_at", [6, 8])
def test_frames_between_are_looked_at_where_a_face_comes(appears_at):
    answers = [faces((100, 100, 60)) if k >= appears_at else faces() for k in range(17)]
    seen = observe(numbered(17), Script(answers), 4)
    assert [frame for frame, _ in seen.faces] == [0, 4, 5, 6, 7, 8, 12, 16]


def test_a_small_face_beside_a_large_one_does_not_call_for_a_look():
    answers = [faces((100, 100, 80), (250, 60 + 10 * k, 20)) for k in range(9)]
    assert [frame for frame, _ in observe(numbered(9), Script(answers), 4).faces] == [0, 4, 8]


def test_a_cut_splits_shots_and_is_looked_at_closely():
    seen = observe(numbered(16, cut_at=6), Script([faces((100, 100, 60))] * 16), 4)
    assert seen.shots == [0] * 6 + [1] * 10
    assert [frame for frame, _ in seen.faces] == [0, 4, 5, 6, 7, 8, 12, 15]
    assert [track.frames for track in link(seen)] == [[0, 4, 5], [6, 7, 8, 12, 15]]


def test_two_people_who_move_stay_two_tracks():
    answers = [faces((60 + 2 * k, 100, 60), (260 - 2 * k, 120, 50)) for k in range(20)]
    answers = [one if k % 2 else faces(*reversed_(one)) for k, one in enumerate(answers)]
    tracks = link(seen_by(answers))
    assert [len(track.frames) for track in tracks] == [20, 20]
    for track in tracks:
        heights = {round(float(box[3] - box[1])) for box in track.boxes}
        assert len(heights) == 1
    assert count_faces(tracks, 20) == 2


def reversed_(found: Detections) -> list[tuple[float, float, float]]:
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    sides = found.boxes[:, 2] - found.boxes[:, 0]
    return [(*centre, side) for centre, side in zip(centres.tolist(), sides.tolist(), strict=True)][::-1]


def test_the_main_face_is_large_central_and_lasting():
    answers = [faces((160, 120, 60), (30, 30, 60), (250, 120, 30)) for _ in range(20)]
    answers[10] = faces((160, 120, 60), (30, 30, 60), (250, 120, 30), (80, 200, 90))
    tracks = credible_tracks(link(seen_by(answers)), 20, FPS, 0.5)
    assert len(tracks) == 3  # the one that is seen once is not credible
    np.testing.assert_allclose(main_track(tracks, 320, 240).boxes[0], [130, 90, 190, 150])


def test_a_face_that_is_never_certain_is_not_credible():
    tracks = link(seen_by([faces((160, 120, 60), score=0.4)] * 30))
    assert credible_tracks(tracks, 30, FPS, 0.5) == []
    assert len(credible_tracks(tracks, 30, FPS, 0.3)) == 1


def test_a_path_is_smooth_and_true():
    true_x = 100 + 20 * np.sin(np.arange(50) / 8)
    noise = np.random.default_rng(0).normal(0, 1.5, 50)
    noise[20] = 25  # one bad box
    seen = seen_by([faces((x, 100, 60), roll=0.2) for x in true_x + noise])
    (track,) = link(seen)
    path = smooth_path(track, seen.shots, FPS, 1)
    assert path.seen.all()
    np.testing.assert_array_equal(path.sources, np.arange(50))
    assert np.abs(path.squares[:, 0] - true_x).max() < 4
    assert np.std(path.squares[:, 0] - true_x) < 1.3
    np.testing.assert_allclose(path.squares[:, 2], 60, atol=1e-3)
    np.testing.assert_allclose(path.squares[:, 3], 0.2, atol=1e-3)


def test_roll_fades_as_the_face_turns_away():
    frontal, turned = faces((100, 100, 60), roll=0.4), faces((100, 100, 60), roll=0.4)
    middle = turned.points[:, :2].mean(1, keepdims=True)
    turned.points[:, :2] = middle + (turned.points[:, :2] - middle) * (0.2 / 0.345)
    blind = Detections(frontal.boxes, frontal.scores, np.full_like(frontal.points, np.nan))
    rolls = []
    for one in (frontal, turned, blind):
        (track,) = link(seen_by([one] * 12))
        rolls.append(smooth_path(track, [0] * 12, FPS, 1).squares[5, 3])
    assert rolls == pytest.approx([0.4, 0.2, 0.0], abs=1e-4)


def test_short_gaps_are_interpolated_and_long_ones_take_the_nearest_crop():
    present = [*range(10), *range(18, 30), *range(70, 80)]
    answers = [faces((100 + k, 100, 60)) if k in present else faces() for k in range(100)]
    for k in range(70, 80):
        answers[k] = faces((135, 100, 60))
    seen = seen_by(answers)
    (track,) = link(seen)
    path = smooth_path(track, seen.shots, FPS, 1)
    np.testing.assert_array_equal(np.flatnonzero(path.seen), [*range(30), *range(70, 80)])
    assert path.squares[14, 0] == pytest.approx(114, abs=0.5)
    np.testing.assert_array_equal(path.sources[:45], np.arange(45))  # 15 frames, .6 s, are held
    np.testing.assert_array_equal(path.sources[45:55], [44] * 5 + [55] * 5)
    np.testing.assert_array_equal(path.sources[95:], [94] * 5)
    assert path.squares[44, 0] == pytest.approx(path.squares[29, 0])
    np.testing.assert_array_equal(path.squares[99], path.squares[94])


def test_other_shots_take_the_nearest_crop_of_the_face():
    shots = [0] * 10 + [1] * 20 + [2] * 10
    seen = seen_by([faces((100, 100, 60)) if shots[k] == 1 else faces() for k in range(40)], shots)
    (track,) = link(seen)
    path = smooth_path(track, shots, FPS, 1)
    np.testing.assert_array_equal(path.sources, [10] * 10 + list(range(10, 30)) + [29] * 10)
    assert path.seen.mean() == 0.5


def test_a_coarse_stride_is_no_gap():
    seen = Observations([(k, faces((100, 100, 60))) for k in (0, 20, 40)], [0] * 41, 320, 240)
    (track,) = link(seen)
    assert smooth_path(track, seen.shots, FPS, 20).seen.all()
    assert smooth_path(track, seen.shots, FPS, 4).seen.sum() == 3
