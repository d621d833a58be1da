"""Which of a video's faces are kept: the main one, the best of each shot, or all that last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from hicmae_core.media.cropping import nearest
from hicmae_core.media.tracking import Observations, Track

MIN_TRACK_SECONDS = 0.4
MIN_SAMPLE_SECONDS = 2.0
MAX_GAP_SECONDS = 0.6

_SAME_FACE = 0.5
_MAX_SHIFT = 1.0
_MAX_ZOOM = 1.6
_MAX_UNLIKENESS = 0.12
"""Share of a portrait's colours that the other has not. Over a gap of 1 to 2 s, 96 % of the pairs of one person lie
below among ten actors before one wall, and 90 % in 77 clips in the wild; of the pairs of two people 0.6 % and 1.4 %."""
_COMPARED = 3
_LEAST_CENTRALITY = 1e-3


def max_gap(fps: float, stride: int) -> int:
    """Frames between two looks over which a face is taken to be there: 0.6 s, or the stride if that is longer."""
    return max(round(MAX_GAP_SECONDS * fps), stride)


def credible_tracks(tracks: Sequence[Track], seen: Observations, fps: float, min_score: float) -> list[Track]:
    """The tracks that reach the score once and last 0.4 s, or half of a clip that is short; each face once.

    Of two that lie on each other, as a face and a part of it do, the one that weighs more is kept.
    """
    shortest = min(MIN_TRACK_SECONDS * fps, seen.num_frames / 2)
    lasting = [track for track in tracks if max(track.scores) >= min_score and track.num_frames >= shortest]
    kept: list[Track] = []
    for track in sorted(lasting, key=lambda track: -weight(track, seen)):
        if not any(_is_same_face(track, better) for better in kept):
            kept.append(track)
    return kept


def weight(track: Track, seen: Observations) -> float:
    """How much a face matters: the sum over its frames of size x centrality x score.

    Each look stands for the frames since the one before, so a face that was looked at more closely weighs no more.
    """
    boxes = np.stack(track.boxes)
    size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], -1))
    middle = np.array([seen.width, seen.height]) / 2
    offsets = (boxes[:, :2] + boxes[:, 2:]) / 2 - middle
    centrality = np.maximum(1 - np.hypot(*offsets.T) / np.hypot(*middle), _LEAST_CENTRALITY)
    num_frames = np.minimum(np.diff(track.frames, prepend=track.frames[0] - 1), seen.stride)
    return float(np.sum(size * centrality * np.array(track.scores) * num_frames))


def same_faces(tracks: Sequence[Track]) -> list[list[Track]]:
    """Tracks that show one face after the other, over cuts and gaps: at about the same place and size, and alike.

    Returns:
        The tracks of each face, in order of time.
    """
    faces: list[list[Track]] = []
    for track in sorted(tracks, key=lambda track: track.frames[0]):
        ended = [face for face in faces if face[-1].frames[-1] < track.frames[0]]
        unlike, best = min(
            ((_unlikeness(face[-1], track), face) for face in ended), default=(np.inf, []), key=itemgetter(0)
        )
        if unlike <= _MAX_UNLIKENESS:
            best.append(track)
        else:
            faces.append([track])
    return faces


def main_face(tracks: Sequence[Track], seen: Observations) -> list[Track]:
    """The tracks of the face that weighs most."""
    return max(same_faces(tracks), key=lambda face: sum(weight(track, seen) for track in face))


def main_track(tracks: Sequence[Track], seen: Observations) -> Track:
    """The track that weighs most."""
    return max(tracks, key=lambda track: weight(track, seen))


def best_per_shot(tracks: Sequence[Track], seen: Observations) -> list[Track]:
    """The main track of each shot that shows a face."""
    shots = sorted({track.shot for track in tracks})
    return [main_track([track for track in tracks if track.shot == shot], seen) for shot in shots]


def lasting_parts(tracks: Sequence[Track], seen: Observations, fps: float) -> list[Track]:
    """The stretches of 2 s or more in which a face is seen without a gap, in order of time, then of weight."""
    parts = []
    for track in tracks:
        after_gaps = np.flatnonzero(np.diff(track.frames) > max_gap(fps, seen.stride)) + 1
        for start, end in zip([0, *after_gaps], [*after_gaps, len(track.frames)], strict=True):
            parts.append(track.part(slice(start, end)))
    lasting = [part for part in parts if part.num_frames >= MIN_SAMPLE_SECONDS * fps]
    return sorted(lasting, key=lambda part: (part.frames[0], -weight(part, seen)))


def share(chosen: Sequence[Track], tracks: Sequence[Track], seen: Observations) -> float:
    """The chosen tracks' part of the weight of all tracks; 1 is alone."""
    return sum(weight(track, seen) for track in chosen) / sum(weight(track, seen) for track in tracks)


def during(tracks: Sequence[Track], first: int, last: int) -> list[Track]:
    """What tracks show from one frame to another, both included."""
    parts = [track.part(slice(*np.searchsorted(track.frames, [first, last + 1]))) for track in tracks]
    return [part for part in parts if part.frames]


def count_faces(tracks: Sequence[Track], num_frames: int) -> int:
    """The most tracks that run at the same time."""
    running = np.zeros(num_frames, np.int64)
    for track in tracks:
        running[track.frames[0] : track.frames[-1] + 1] += 1
    return int(running.max(initial=0))


def _unlikeness(track: Track, later: Track) -> float:
    """How far the colours at the end of a track differ from those at the beginning of a later one, 0 to 1; infinite
    where they cannot be one face, or have no portraits."""
    if not track.portraits or not later.portraits:
        return np.inf
    old, new = track.boxes[-1], later.boxes[0]
    sides = [float((box[2:] - box[:2]).max()) for box in (old, new)]
    shift = float(np.linalg.norm(old[:2] + old[2:] - new[:2] - new[2:])) / 2
    if shift > _MAX_SHIFT * max(sides) or max(sides) > _MAX_ZOOM * min(sides):
        return np.inf
    ends = (track.portraits[-_COMPARED:], later.portraits[:_COMPARED])
    end, beginning = (np.mean(portraits, 0) for portraits in ends)
    return float(np.abs(end - beginning).sum() / 2)


def _is_same_face(track: Track, other: Track) -> bool:
    """Whether the smaller boxes lie inside the larger ones, by half, wherever both were seen."""
    _, here, there = np.intersect1d(track.frames, other.frames, return_indices=True)
    if not len(here):
        return False
    first, second = np.stack(track.boxes)[here], np.stack(other.boxes)[there]
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    smaller = np.minimum(*(np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (first, second)))
    return bool(np.median(np.prod(np.maximum(sides, 0), -1) / np.maximum(smaller, 1e-9)) > _SAME_FACE)


SMOOTHING_SECONDS = 0.06

_ROLL_FADE = (0.15, 0.25)


@dataclass(frozen=True)
class FacePath:
    """A face at every frame of a video, or of a part of it.

    Attributes:
        squares: float64 ``[num_frames, 4]``: centre x, centre y, side (pixels) and roll (radians) of the face.
        sources: int64 ``[num_frames]``: the video's frame to crop: the frame itself, or the nearest that shows the
            face.
        seen: bool ``[num_frames]``: detected there, or interpolated between detections.
        frozen: bool ``[num_frames]``: takes the crop of a frame that is more than 0.6 s away.
    """

    squares: np.ndarray
    sources: np.ndarray
    seen: np.ndarray
    frozen: np.ndarray

    def part(self, first: int, last: int) -> FacePath:
        """The frames from one to another, both included."""
        where = slice(first, last + 1)
        return FacePath(self.squares[where], self.sources[where], self.seen[where], self.frozen[where])


def smooth_path(tracks: Sequence[Track], seen: Observations, fps: float) -> FacePath:
    """Place tracks' faces, one at a time in each shot, in every frame of the video.

    Gaps of up to 0.6 s between detections are interpolated, and the face is held in place for up to as long before
    and after, inside the shot. Frames further away, and odd frames in the shot, have no usable face; they take the
    nearest one that has.

    Args:
        tracks: Boxes and points; those of one shot in order of time, none while another runs.
        seen: The video they are from.
        fps: Frames per second.
    """
    squares = np.zeros((seen.num_frames, 4))
    is_seen = np.zeros(seen.num_frames, bool)
    usable = np.zeros(seen.num_frames, bool)
    for track in tracks:
        squares_of_track, is_seen_in_track, is_usable = _place(track, seen, fps)
        is_usable &= ~is_seen
        squares[is_usable] = squares_of_track[is_usable]
        is_seen |= is_seen_in_track
        usable |= is_usable
    squares[:, 2] = np.exp(squares[:, 2])
    sources = nearest(np.flatnonzero(usable), seen.num_frames)
    is_frozen = np.abs(sources - np.arange(seen.num_frames)) > max_gap(fps, seen.stride)
    return FacePath(squares[sources], sources, is_seen, is_frozen)


def _place(track: Track, seen: Observations, fps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One face in every frame: centre x and y, log side and roll; where it is seen; where it is seen or held."""
    gap = max_gap(fps, seen.stride)
    frames = np.array(track.frames)
    places = median_filter(_places(track), size=(3, 1), mode="nearest")
    squares = np.zeros((seen.num_frames, 4))
    is_seen = np.zeros(seen.num_frames, bool)
    usable = np.zeros(seen.num_frames, bool)
    for stretch in np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) > gap) + 1):
        first, last = frames[stretch[0]], frames[stretch[-1]]
        inside = np.arange(first, last + 1)
        dense = np.stack([np.interp(inside, frames[stretch], places[stretch, i]) for i in range(4)], 1)
        squares[inside] = gaussian_filter1d(dense, SMOOTHING_SECONDS * fps, axis=0, mode="nearest")
        is_seen[inside] = True
        usable[max(0, first - gap) : last + gap + 1] = True
    in_shot = np.array(seen.shots) == track.shot
    is_seen &= in_shot
    usable &= in_shot
    return squares[nearest(np.flatnonzero(is_seen), seen.num_frames)], is_seen, usable


def _places(track: Track) -> np.ndarray:
    """``[N, 4]``: centre x, centre y, log side and roll of a track's boxes.

    The side is that of the square around the box. The roll is the slope of the eyes, faded out as a face turns to
    profile, where the eyes no longer tell it.
    """
    boxes, points = np.stack(track.boxes).astype(np.float64), np.stack(track.points).astype(np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), 1)
    x, y = (points[:, 1] - points[:, 0]).T
    near, far = _ROLL_FADE
    trust = np.clip((np.hypot(x, y) / sides - near) / (far - near), 0, 1)
    rolls = np.nan_to_num(np.arctan2(y, x) * trust)
    return np.column_stack([centres, np.log(sides), rolls])
