"""Media files packet by packet, so that a packet that does not decode costs itself and not the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av

from hicmae_core.media.opening import MediaError

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

    def decode(self, packet: av.Packet) -> list[Any] | None:
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

    def __iter__(self) -> Iterator[av.Packet]:
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
