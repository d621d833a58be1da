"""Media files packet by packet: one that does not decode costs itself, and timestamps say when frames are shown."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import av

from hicmae_core.media.opening import MAX_FRAME_RATE, MAX_GAP_SECONDS, MAX_STEP_BACK_SECONDS, MediaError

MIN_INTACT_FRACTION = 0.9
"""A stream that is shorter than this share of its declared length is refused."""
MAX_LOST_FRACTION = 0.1
"""A stream is refused if a larger share of its packets, or of a folder's images, does not decode."""

_MAX_FAILURES_IN_A_ROW = 100

Stream = av.VideoStream | av.AudioStream


@dataclass
class Damage:
    """How much of a stream does not decode.

    Attributes:
        what: The stream.
        num_packets: Packets that were decoded, or refused.
        num_broken: Packets that the decoder refused, and frames that it marked as broken. From a broken key frame
            on, every frame up to the next key frame counts, because it is predicted from it.
    """

    what: Literal["video", "audio"]
    num_packets: int = 0
    num_broken: int = 0
    _has_lost_key: bool = False

    @property
    def reason(self) -> str:
        """What is wrong, to follow a file's name; empty if nothing is."""
        if not self.num_broken:
            return ""
        return f"is damaged: {self.num_broken} of {self.num_packets} {self.what} packets do not decode"

    def decode(self, packet: av.Packet[Any]) -> list[Any] | None:
        """The video or audio frames that a packet completes; None if the decoder refuses it.

        An empty packet flushes the decoder.
        """
        self.num_packets += packet.size > 0
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.num_broken += 1
            self._has_lost_key |= packet.is_keyframe and self.what == "video"
            return None
        for frame in frames:
            self._count(frame)
        return frames

    def check(self, path: Path) -> None:
        """Refuse a stream of which too much is broken.

        Raises:
            MediaError: With the counts.
        """
        if self.num_broken > MAX_LOST_FRACTION * self.num_packets:
            raise MediaError(path, "unreadable", self.reason)

    def _count(self, frame: av.VideoFrame | av.AudioFrame) -> None:
        if frame.key_frame:
            self._has_lost_key = frame.is_corrupt and self.what == "video"
        self.num_broken += frame.is_corrupt or self._has_lost_key


class Demuxer:
    """The packets of some streams, in the order of the file, and how far they reach.

    Attributes:
        end_seconds: The latest end of a packet on the container's clock.
        num_failures: Places that the demuxer could not read.
    """

    def __init__(self, container: av.container.InputContainer, *streams: Stream | None) -> None:
        self._container = container
        self._streams = [stream for stream in streams if stream is not None]
        self.end_seconds = 0.0
        self.num_failures = 0

    def __iter__(self) -> Iterator[av.Packet[Any]]:
        """Packets; behind a place that cannot be read it goes on. The last one of each stream is empty."""
        num_in_a_row = 0
        ticks = {stream.index: float(stream.time_base or 0) for stream in self._streams}  # fractions are slow
        while True:
            try:
                for packet in self._container.demux(self._streams):
                    num_in_a_row = 0
                    if packet.pts is not None:
                        end = (packet.pts + (packet.duration or 0)) * ticks[packet.stream.index]
                        self.end_seconds = max(self.end_seconds, end)
                    yield packet
                return
            except av.InvalidDataError:
                num_in_a_row += 1
                self.num_failures += 1
                if num_in_a_row > _MAX_FAILURES_IN_A_ROW:
                    raise


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

    def add(self, packet: av.Packet[Any], is_refused: bool = False) -> None:
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

    def peek(self, packet: av.Packet[Any]) -> None:
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
