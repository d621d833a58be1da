import numpy as np
import pytest

from hicmae_core.media.choosing import (
    best_per_shot,
    count_faces,
    credible_tracks,
    during,
    lasting_parts,
    main_track,
    share,
    weight,
)
from hicmae_core.media.tracking import link
from tests.media.sightings import faces, seen_by

FPS = 25.0


def test_the_main_face_is_large_central_and_lasting():
    answers = [faces((160, 120, 60), (30, 30, 60), (250, 120, 30)) for _ in range(20)]
    answers[10] = faces((160, 120, 60), (30, 30, 60), (250, 120, 30), (80, 200, 90))
    seen = seen_by(answers)
    tracks = credible_tracks(link(seen), seen, FPS, 0.5)
    assert len(tracks) == 3  # the one that is seen once is not credible
    np.testing.assert_allclose(main_track(tracks, seen).boxes[0], [130, 90, 190, 150])


def test_a_face_that_is_never_certain_is_not_credible():
    seen = seen_by([faces((160, 120, 60), score=0.4)] * 30)
    assert credible_tracks(link(seen), seen, FPS, 0.5) == []
    assert len(credible_tracks(link(seen), seen, FPS, 0.3)) == 1


def test_a_part_of_a_face_is_not_another_face():
    answers = [faces((160, 120, 100), (150, 140, 30), (220, 120, 80)) for _ in range(20)]
    seen = seen_by(answers)
    tracks = credible_tracks(link(seen), seen, FPS, 0.5)
    assert [float(track.boxes[0][3] - track.boxes[0][1]) for track in tracks] == [100, 80]  # the mouth is gone
    assert count_faces(tracks, 20) == 2


def test_faces_in_the_same_place_one_after_the_other_are_two():
    shots = [0] * 20 + [1] * 20
    seen = seen_by([faces((160, 120, 60))] * 40, shots)
    tracks = credible_tracks(link(seen), seen, FPS, 0.5)
    assert len(tracks) == 2
    assert count_faces(tracks, 40) == 1


@pytest.mark.parametrize("stride", [2, 4])
def test_a_face_weighs_the_same_however_often_it_was_looked_at(stride):
    answers = [faces((100 + k, 110, 60)) for k in range(41)]
    often, seldom = (seen_by(answers, stride=step) for step in (1, stride))
    weights = [sum(weight(track, seen) for track in link(seen)) for seen in (often, seldom)]
    assert weights[1] == pytest.approx(weights[0], rel=0.03)


def test_share_is_one_alone_and_falls_with_company():
    alone = seen_by([faces((160, 120, 60))] * 20)
    assert share(link(alone), link(alone), alone) == 1
    pair = seen_by([faces((100, 120, 60), (220, 120, 60))] * 20)
    tracks = link(pair)
    assert [share([track], tracks, pair) for track in tracks] == pytest.approx([0.5, 0.5])
    big = seen_by([faces((100, 120, 80), (220, 120, 40))] * 20)
    tracks = link(big)
    assert share([main_track(tracks, big)], tracks, big) == pytest.approx(2 / 3)
    corner = seen_by([faces((-20, -20, 60))] * 20)  # no weight by centrality, and still a face
    assert share(link(corner), link(corner), corner) == 1


def test_the_best_face_of_each_shot():
    shots = [0] * 20 + [1] * 20 + [2] * 20
    answers = [faces((160, 120, 60), (40, 40, 50))] * 20 + [faces()] * 20 + [faces((40, 120, 30), (200, 120, 70))] * 20
    seen = seen_by(answers, shots)
    best = best_per_shot(link(seen), seen)
    assert [track.shot for track in best] == [0, 2]
    np.testing.assert_allclose([track.boxes[0][0] for track in best], [130, 165])


def test_samples_of_their_own_last_two_seconds_without_a_gap():
    def answer(k: int) -> list[tuple[float, float, float]]:
        here = [(80.0, 120.0, 60.0)] if not 60 <= k < 90 else []  # away for more than .6 s
        return here + ([(240.0, 120.0, 50.0)] if 20 <= k < 75 else [])

    seen = seen_by([faces(*answer(k)) for k in range(130)])
    tracks = link(seen)
    parts = lasting_parts(tracks, seen, FPS)
    assert [(part.frames[0], part.frames[-1]) for part in parts] == [(0, 59), (20, 74)]  # 90 to 129 is 1.6 s
    assert share(parts[:1], during(tracks, 0, 59), seen) > share(parts[:1], tracks, seen)
    inside = during(tracks, 61, 70)
    assert [track.frames for track in inside] == [list(range(61, 71))]
