import numpy as np
import pytest

from hicmae_core.media.choosing import smooth_path
from hicmae_core.media.detection import Detections
from hicmae_core.media.tracking import link
from tests.media.sightings import faces, seen_by

FPS = 25.0


def test_a_path_is_smooth_and_true():
    true_x = 100 + 20 * np.sin(np.arange(50) / 8)
    noise = np.random.default_rng(0).normal(0, 1.5, 50)
    noise[20] = 25  # one bad box
    seen = seen_by([faces((x, 100, 60), roll=0.2) for x in true_x + noise])
    (track,) = link(seen)
    path = smooth_path([track], seen, FPS)
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
        seen = seen_by([one] * 12)
        rolls.append(smooth_path(link(seen), seen, FPS).squares[5, 3])
    assert rolls == pytest.approx([0.4, 0.2, 0.0], abs=1e-4)


def test_short_gaps_are_interpolated_and_long_ones_take_the_nearest_crop():
    present = [*range(10), *range(18, 30), *range(70, 80)]
    answers = [faces((100 + k, 100, 60)) if k in present else faces() for k in range(100)]
    for k in range(70, 80):
        answers[k] = faces((135, 100, 60))
    seen = seen_by(answers)
    (track,) = link(seen)
    path = smooth_path([track], seen, FPS)
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
    path = smooth_path([track], seen, FPS)
    np.testing.assert_array_equal(path.sources, [10] * 10 + list(range(10, 30)) + [29] * 10)
    assert path.seen.mean() == 0.5


def test_tracks_of_several_shots_are_stitched():
    shots = [0] * 30 + [1] * 30 + [2] * 40 + [3] * 20
    squares = {0: (100, 100, 60), 1: None, 2: (200, 120, 40), 3: (60, 60, 30)}
    answers = [faces() if squares[shot] is None else faces(squares[shot]) for shot in shots]
    for k in range(60, 68):
        answers[k] = faces()  # the face of shot 2 is seen late, next to the end of shot 1
    seen = seen_by(answers, shots)
    path = smooth_path(link(seen), seen, FPS)
    np.testing.assert_array_equal(path.sources, [*range(30), *[29] * 15, *[60] * 15, *range(60, 120)])
    np.testing.assert_allclose(path.squares[[0, 40, 50, 61, 99, 100], 0], [100, 100, 200, 200, 200, 60], atol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(~path.seen), range(30, 68))


def test_a_part_keeps_its_place_in_the_video():
    seen = seen_by([faces((100 + k, 100, 60)) for k in range(40)])
    path = smooth_path(link(seen), seen, FPS)
    part = path.part(10, 14)
    np.testing.assert_array_equal(part.sources, [10, 11, 12, 13, 14])
    np.testing.assert_array_equal(part.squares, path.squares[10:15])
    assert part.seen.shape == (5,)


def test_a_coarse_stride_is_no_gap():
    answers = [faces((100, 100, 60))] * 41
    seen = seen_by(answers, stride=20)
    assert smooth_path(link(seen), seen, FPS).seen.all()
    seen.stride = 4
    assert smooth_path(link(seen), seen, FPS).seen.sum() == 3
