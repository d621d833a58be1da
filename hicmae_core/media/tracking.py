"""From frames to the path of the clip's main face.

Recipe: detect on every n-th frame and look at the frames between only where a face moved; split at shot cuts; link
boxes that overlap inside a shot; keep the track that is large, central and certain for longest; then median,
interpolation and Gaussian smoothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from hicmae_core.media.detection import Detections, Detector, box_iou

MAX_GAP_SECONDS = 0.6
MIN_TRACK_SECONDS = 0.4
SMOOTHING_SECONDS = 0.06

_MOVED_IOU = 0.7
_LINK_IOU = 0.3
_CUT_CORRELATION = 0.5
_CUT_DIFFERENCE = 10.0
_THUMBNAIL = (48, 27)
_ROLL_FADE = (0.15, 0.25)


@dataclass
class Observations:
    """What was seen in a video.

    Attributes:
        faces: Frame index and faces of the frames that were looked at, in order.
        shots: Shot number of every frame.
        width: Picture width, pixels.
        height: Picture height, pixels.
    """

    faces: list[tuple[int, Detections]] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    width: int = 0
    height: int = 0

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return len(self.shots)


@dataclass
class Track:
    """One face through one shot: frame indices, and per index its box, score and points."""

    shot: int
    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: int, faces: Detections, index: int) -> None:
        """Continue the track with face `index` of a frame."""
        self.frames.append(frame)
        self.boxes.append(faces.boxes[index])
        self.scores.append(float(faces.scores[index]))
        self.points.append(faces.points[index])


@dataclass(frozen=True)
class FacePath:
    """The main face at every frame of a video.

    Attributes:
        squares: float64 ``[num_frames, 4]``: centre x, centre y, side (pixels) and roll (radians) of the face.
        sources: int64 ``[num_frames]``: the frame to crop: the frame itself, or the nearest that shows the face.
        seen: bool ``[num_frames]``: detected there, or interpolated between detections.
    """

    squares: np.ndarray
    sources: np.ndarray
    seen: np.ndarray


def observe(frames: Iterable[np.ndarray], detector: Detector, stride: int) -> Observations:
    """Detect faces on every `stride`-th frame and the last, and between where a face moved or the shot changed.

    Holds `stride` frames at a time.
    """
    seen = Observations()
    pending: list[np.ndarray] = []
    thumbnail: np.ndarray | None = None
    for index, frame in enumerate(frames):
        before, thumbnail = thumbnail, _thumbnail(frame)
        is_cut = before is not None and _is_cut(before, thumbnail)
        seen.shots.append(seen.shots[-1] + is_cut if seen.shots else 0)
        seen.height, seen.width = frame.shape[:2]
        pending.append(frame)
        if index % stride == 0:
            _look(seen, pending, detector)
            pending = []
    if pending:
        _look(seen, pending, detector)
    return seen


def link(seen: Observations) -> list[Track]:
    """Join faces into tracks: inside a shot, each face continues the track whose last box it overlaps most."""
    tracks: list[Track] = []
    for frame, faces in seen.faces:
        shot = seen.shots[frame]
        open_tracks = [track for track in tracks if track.shot == shot]
        free = set(range(len(faces)))
        if open_tracks and free:
            overlaps = box_iou(np.stack([track.boxes[-1] for track in open_tracks]), faces.boxes)
            while overlaps.max() >= _LINK_IOU:
                row, column = (int(i) for i in np.unravel_index(overlaps.argmax(), overlaps.shape))
                open_tracks[row].add(frame, faces, column)
                free.remove(column)
                overlaps[row], overlaps[:, column] = 0, 0
        for index in sorted(free):
            tracks.append(Track(shot))
            tracks[-1].add(frame, faces, index)
    return tracks


def credible_tracks(tracks: list[Track], num_frames: int, fps: float, min_score: float) -> list[Track]:
    """The tracks that reach the score once and last 0.4 s, or half of a clip that is short."""
    shortest = min(MIN_TRACK_SECONDS * fps, num_frames / 2)
    return [
        track
        for track in tracks
        if max(track.scores) >= min_score and track.frames[-1] - track.frames[0] + 1 >= shortest
    ]


def main_track(tracks: list[Track], width: int, height: int) -> Track:
    """The track with the largest sum of face size x centrality x score."""

    def weight(track: Track) -> float:
        boxes = np.stack(track.boxes)
        size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], -1))
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([width, height]) / 2
        centrality = np.maximum(1 - np.hypot(*centres.T) / np.hypot(width / 2, height / 2), 0)
        return float(np.sum(size * centrality * np.array(track.scores)))

    return max(tracks, key=weight)


def count_faces(tracks: list[Track], num_frames: int) -> int:
    """The most tracks that run at the same time."""
    running = np.zeros(num_frames, np.int64)
    for track in tracks:
        running[track.frames[0] : track.frames[-1] + 1] += 1
    return int(running.max(initial=0))


def smooth_path(track: Track, shots: list[int], fps: float, stride: int) -> FacePath:
    """Place a track's face in every frame of the video.

    Gaps of up to 0.6 s between detections are interpolated, and the face is held in place for up to as long before
    and after, inside the shot. Frames further away have no usable face; they take the nearest one that has.

    Args:
        track: Its boxes and points.
        shots: Shot number of every frame.
        fps: Frames per second.
        stride: Distance of the frames that were looked at anyway; a gap is at least as long.
    """
    num_frames = len(shots)
    max_gap = max(round(MAX_GAP_SECONDS * fps), stride)
    frames = np.array(track.frames)
    places = median_filter(_places(track), size=(3, 1), mode="nearest")
    squares = np.zeros((num_frames, 4))
    seen = np.zeros(num_frames, bool)
    usable = np.zeros(num_frames, bool)
    for stretch in np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) > max_gap) + 1):
        first, last = frames[stretch[0]], frames[stretch[-1]]
        inside = np.arange(first, last + 1)
        dense = np.stack([np.interp(inside, frames[stretch], places[stretch, i]) for i in range(4)], 1)
        squares[inside] = gaussian_filter1d(dense, SMOOTHING_SECONDS * fps, axis=0, mode="nearest")
        seen[inside] = True
        usable[max(0, first - max_gap) : last + max_gap + 1] = True
    usable &= np.array(shots) == track.shot
    squares = squares[_nearest(np.flatnonzero(seen), num_frames)]
    squares[:, 2] = np.exp(squares[:, 2])
    sources = _nearest(np.flatnonzero(usable), num_frames)
    return FacePath(squares[sources], sources, seen)


def _look(seen: Observations, pending: list[np.ndarray], detector: Detector) -> None:
    """Detect on the last of the pending frames, and on the others if something moved since the frame before them."""
    last = seen.num_frames - 1
    first = seen.num_frames - len(pending)
    (now,) = detector.detect(pending[-1:])
    between = range(first, last)
    if between and seen.faces:
        before = seen.faces[-1][1]
        if seen.shots[first - 1] != seen.shots[last] or _moved(before, now):
            seen.faces.extend(zip(between, detector.detect(pending[:-1]), strict=True))
    seen.faces.append((last, now))


def _moved(before: Detections, now: Detections) -> bool:
    """Whether a face came, went or moved; faces under half the side of the largest one do not count."""
    if not len(before) or not len(now):
        return len(before) != len(now)
    overlaps = box_iou(before.boxes, now.boxes)
    heights = [faces.boxes[:, 3] - faces.boxes[:, 1] for faces in (before, now)]
    smallest = max(heights[0].max(), heights[1].max()) / 2
    stayed = (overlaps.max(1)[heights[0] >= smallest], overlaps.max(0)[heights[1] >= smallest])
    return bool(min(overlap.min(initial=1) for overlap in stayed) < _MOVED_IOU)


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    width, height = _THUMBNAIL
    sampled = cv2.resize(frame, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)  # 15 times faster than by area
    small = cv2.resize(sampled, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32).ravel()


def _is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """A shot cut: two neighbouring thumbnails that differ in light and in structure."""
    if np.abs(before - after).mean() <= _CUT_DIFFERENCE:
        return False
    first, second = before - before.mean(), after - after.mean()
    norm = np.linalg.norm(first) * np.linalg.norm(second)
    return bool(norm == 0 or first @ second / norm < _CUT_CORRELATION)


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


def _nearest(chosen: np.ndarray, num_frames: int) -> np.ndarray:
    """For each frame the nearest of the chosen ones, which are sorted and not empty."""
    frames = np.arange(num_frames)
    after = np.clip(np.searchsorted(chosen, frames), 0, len(chosen) - 1)
    before = np.maximum(after - 1, 0)
    is_before = np.abs(frames - chosen[before]) <= np.abs(chosen[after] - frames)
    return np.where(is_before, chosen[before], chosen[after])
