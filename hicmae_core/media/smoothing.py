"""From tracks to the face's place in every frame: median, interpolation over short gaps, Gaussian smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from hicmae_core.media.choosing import max_gap
from hicmae_core.media.cropping import nearest
from hicmae_core.media.tracking import Observations, Track

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
