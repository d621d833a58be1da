"""The clock of a video: when its frames are shown, by the timestamps of its packets."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av

from hicmae_core.media.opening import MAX_FRAME_RATE, MAX_GAP_SECONDS, MAX_STEP_BACK_SECONDS, MediaError
from hicmae_core.media.packets import Damage


class VideoClock:
    """The frame rate of a video, its start, and its end by the timestamps of its packets, which need no decoding.

    Attributes:
        fps: Frames per second.
        frame_seconds: Seconds per frame.
        start: Time of the first frame on the container's clock, seconds; None until a frame with a time decodes.
        end: Time of the last frame, seconds since the first; known after `num_pictures`.
        missed_seconds: From the first packet to the first frame: what was lost with a first key frame, mostly nothing;
            known after `num_pictures`.
    """

    def __init__(self, path: Path, video: av.VideoStream) -> None:
        self.fps = _frame_rate(path, video)
        self.frame_seconds = 1 / float(self.fps)
        self.start: float | None = None
        self.end = self.missed_seconds = 0.0
        self._path = path
        self._times: list[float] = []
        self._first: av.VideoFrame | None = None
        self._first_damage = Damage("video")
        self._video = video
        self._tick = float(video.time_base or 0)  # a fraction is slow
        self._is_avi = video.container.format.name == "avi"
        self._due: list[float] = []

    def add(self, packet: av.Packet, is_refused: bool = False) -> None:
        """Take note of a packet's time, unless it only serves to decode others, as before an edit list's start."""
        if not packet.size or packet.is_discard:
            return
        timestamp = packet.dts if packet.pts is None or self._is_avi else packet.pts
        if timestamp is not None:
            self._times.append(timestamp * self._tick)
        else:
            self._times.append(self._times[-1] + self.frame_seconds if self._times else 0.0)
        if self._is_avi and not is_refused:
            heapq.heappush(self._due, self._times[-1])

    @property
    def has_begun(self) -> bool:
        """Whether `peek` has found a frame."""
        return self._first is not None

    def peek(self, packet: av.Packet) -> None:
        """`add` a packet, and decode it if it may hold the first frame."""
        if self.has_begun:
            self.add(packet)
            return
        frames = self._first_damage.decode(packet)
        self.add(packet, is_refused=frames is None)
        if frames:
            self._first = frames[0]
            self.start = self._time_of(frames[0])

    def first_frame(self) -> av.VideoFrame:
        """What `peek` has found.

        Raises:
            MediaError: If there was no frame.
        """
        if self._first is None:
            self._first_damage.check(self._path)
            raise MediaError(self._path, "no_video", "has a video stream without a single frame")
        return self._first

    def timed(self, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames with their times, in seconds since the first; a frame without a time follows the one before."""
        latest = -self.frame_seconds
        for frame in frames:
            at, time = latest + self.frame_seconds, self._time_of(frame)
            if time is not None:
                self.start = time - at if self.start is None else self.start
                at = time - self.start
            self._check_step(latest, at)
            latest = max(latest, at)  # the one bound on all steps back
            yield frame, latest

    def num_pictures(self) -> int:
        """Frames at the constant rate, from the first that decodes to the last of which there is a packet."""
        times = sorted(self._times) or [0.0]
        start = times[0] if self.start is None else self.start
        for before, after in pairwise(times):
            self._check_step(before - start, after - start)
        self.end = max(times[-1] - start, 0.0)
        self.missed_seconds = max(start - times[0], 0.0)
        return math.ceil(self.end / self.frame_seconds + 0.5)

    def _time_of(self, frame: av.VideoFrame) -> float | None:
        """When the next frame is shown. AVI only tells the times of packets: the earliest one that is left is it.

        Without B frames it is that of the frame's own packet; of H.264 that was copied to AVI, FFmpeg makes up another.
        """
        if not self._is_avi:
            return frame.time
        if self._video.codec_context.has_b_frames:
            return heapq.heappop(self._due) if self._due else None
        return None if frame.dts is None else frame.dts * self._tick

    def _check_step(self, before: float, after: float) -> None:
        if not math.isfinite(after) or not -MAX_STEP_BACK_SECONDS <= after - before <= MAX_GAP_SECONDS:
            reason = f"its frame times jump from {before:.1f} s to {after:.1f} s"
            raise MediaError(self._path, "unreadable", reason)


def _frame_rate(path: Path, video: av.VideoStream) -> Fraction:
    rates = [video.average_rate, video.guessed_rate]
    declared, seen = rates
    if video.container.format.name == "avi" and declared and seen and declared == 2 * seen:
        rates.reverse()  # an AVI declares places for frames: every other one is empty where H.264 was copied into it
    for rate in rates:
        if rate and 0 < rate <= MAX_FRAME_RATE:
            return Fraction(rate)
    raise MediaError(path, "unreadable", f"its frame rate of {rates[0] or 'unknown'} is not one of a video")
