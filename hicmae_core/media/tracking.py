"""From images to the faces in them: where there were looked for, and how they go on from frame to frame.

Detect on every n-th frame and look between only where a face moved; split at shot cuts; link boxes that overlap
inside a shot. A few odd frames (a flash, a black frame, a glitch) are no cut: what comes back is the same shot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from hicmae_core.media.decoded_frame import DecodedFrame
from hicmae_core.media.detection import Detections, Detector, box_iou

_MOVED_IOU = 0.7
_LINK_IOU = 0.3
_CUT_CORRELATION = 0.5
_CUT_DIFFERENCE = 8.6
_THUMBNAIL = (48, 27)
_MAX_ODD_FRAMES = 15
_PORTRAIT_SIDE = 64
_COLOUR_LEVELS = 8


@dataclass
class Observations:
    """What was seen in a video.

    Attributes:
        stride: Distance of the frames that were looked at anyway.
        faces: Frame index and faces of the frames that were looked at, in order.
        shots: Shot number of every frame. Odd frames have a number of their own, and the shot goes on after them.
        width: Image width, pixels.
        height: Image height, pixels.
        portraits: Frame index to `portraits_of` the faces there.
    """

    stride: int = 1
    faces: list[tuple[int, Detections]] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    width: int = 0
    height: int = 0
    portraits: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return len(self.shots)


@dataclass
class Track:
    """One face through one shot: frame indices, and per index its box, score, points and portrait (if taken)."""

    shot: int
    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    portraits: list[np.ndarray] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        """Video frames from the first to the last that show it."""
        return self.frames[-1] - self.frames[0] + 1

    def add(self, seen: Observations, frame: int, faces: Detections, index: int) -> None:
        """Continue the track with face `index` of a frame."""
        self.frames.append(frame)
        self.boxes.append(faces.boxes[index])
        self.scores.append(float(faces.scores[index]))
        self.points.append(faces.points[index])
        if frame in seen.portraits:
            self.portraits.append(seen.portraits[frame][index])

    def part(self, where: slice) -> Track:
        """Some of its entries."""
        return Track(
            self.shot,
            self.frames[where],
            self.boxes[where],
            self.scores[where],
            self.points[where],
            self.portraits[where],
        )


def observe(
    pictures: Iterable[DecodedFrame], detector: Detector, stride: int, max_odd: int = _MAX_ODD_FRAMES
) -> Observations:
    """Detect faces on every `stride`-th frame and the last, and between where a face moved or the shot changed.

    Between two frames that differ the middle one is inspected, and so on into the halves that still differ.
    Holds `stride` frames at a time. Up to `max_odd` frames between two that are alike are no shot change.
    """
    seen = Observations(stride)
    pending: list[DecodedFrame] = []
    shots = _Shots(max_odd)
    for index, picture in enumerate(pictures):
        seen.shots.append(shots.number(index, _thumbnail(picture)))
        seen.width, seen.height = picture.width, picture.height
        pending.append(picture)
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
                open_tracks[row].add(seen, frame, faces, column)
                free.remove(column)
                overlaps[row], overlaps[:, column] = 0, 0
        for index in sorted(free):
            tracks.append(Track(shot))
            tracks[-1].add(seen, frame, faces, index)
    return tracks


def portraits_of(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Colours of faces and of what is around them, by which a face is known again: shares, float32 ``[N, 512]``.

    Args:
        image: RGB uint8 ``[height, width, 3]``.
        boxes: ``[N, 4]``: left, top, right, bottom.
    """
    portraits = np.zeros((len(boxes), _COLOUR_LEVELS**3), np.float32)
    height, width = image.shape[:2]
    for portrait, (left, top, right, bottom) in zip(portraits, boxes, strict=True):
        reach = max(right - left, bottom - top)  # to each side, so half of it lies around the face
        x, y = (left + right) / 2, (top + bottom) / 2
        first_column, last_column = (int(np.clip(value, 0, width - 1)) for value in (x - reach, x + reach))
        first_row, last_row = (int(np.clip(value, 0, height - 1)) for value in (y - reach, y + reach))
        region = image[first_row : last_row + 1, first_column : last_column + 1]
        sampled = cv2.resize(region, (_PORTRAIT_SIDE, _PORTRAIT_SIDE), interpolation=cv2.INTER_NEAREST)
        counts = cv2.calcHist([sampled], [0, 1, 2], None, [_COLOUR_LEVELS] * 3, [0, 256] * 3)
        portrait[:] = counts.ravel() / _PORTRAIT_SIDE**2
    return portraits


class _Shots:
    """Numbers the shots of images that come one after the other.

    Args:
        max_odd: An image that is like one before up to so many others belongs to that one's shot.
    """

    def __init__(self, max_odd: int) -> None:
        self.max_odd = max_odd
        self._number = self._largest = 0
        self._before: np.ndarray | None = None
        self._left: list[tuple[int, int, np.ndarray]] = []

    def number(self, index: int, thumbnail: np.ndarray) -> int:
        """The shot of the image at `index`."""
        before, self._before = self._before, thumbnail
        if before is not None and _is_cut(before, thumbnail):
            self._left.append((index - 1, self._number, before))
            self._left = [left for left in self._left if index - left[0] <= self.max_odd + 1]
            back = (shot for _, shot, last in self._left if not _is_cut(last, thumbnail))
            self._number = next(back, self._largest + 1)
            self._largest = max(self._largest, self._number)
        return self._number


def _look(seen: Observations, pending: Sequence[DecodedFrame], detector: Detector) -> None:
    """Detect on the last of the pending frames, and on those between where something happened since the last look."""
    last = seen.num_frames - 1
    first = seen.num_frames - len(pending)

    def faces_of(index: int) -> Detections:
        image = pending[index - first].rgb()
        (found,) = detector.detect([image])
        seen.portraits[index] = portraits_of(image, found.boxes)
        return found

    def detect_between(start: int, before: Detections, end: int, now: Detections) -> None:
        if end - start > 1 and (seen.shots[start] != seen.shots[end] or _moved(before, now)):
            middle = (start + end) // 2
            found = faces_of(middle)
            detect_between(start, before, middle, found)
            seen.faces.append((middle, found))
            detect_between(middle, found, end, now)

    now = faces_of(last)
    if seen.faces:
        detect_between(*seen.faces[-1], last, now)
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


def _thumbnail(picture: DecodedFrame) -> np.ndarray:
    width, height = _THUMBNAIL
    sampled = cv2.resize(picture.luma(), (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)  # 15 times faster
    return cv2.resize(sampled, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()  # than by area


def _is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """A shot cut: two neighbouring thumbnails that differ in light and in structure."""
    if np.abs(before - after).mean() <= _CUT_DIFFERENCE:
        return False
    first, second = before - before.mean(), after - after.mean()
    norm = np.linalg.norm(first) * np.linalg.norm(second)
    return bool(norm == 0 or first @ second / norm < _CUT_CORRELATION)
