"""Decoded pictures that turn into pixels only when asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import av
import numpy as np
from av.video.reformatter import VideoReformatter


@dataclass(frozen=True)
class Picture:
    """A frame of a video as FFmpeg keeps it: for most of them it is enough to compare their luma.

    Attributes:
        frame: The decoded frame, not yet rotated.
        converter: Shared by the pictures of one video, it need not be set up for each of them. Not for two threads.
    """

    frame: av.VideoFrame
    converter: VideoReformatter = field(default_factory=VideoReformatter, repr=False)

    @property
    def width(self) -> int:
        """Width as shown, after rotation, pixels."""
        return self.frame.height if self._quarters % 2 else self.frame.width

    @property
    def height(self) -> int:
        """Height as shown, after rotation, pixels."""
        return self.frame.width if self._quarters % 2 else self.frame.height

    @property
    def num_bytes(self) -> int:
        """Memory that it holds."""
        return sum(plane.buffer_size for plane in self.frame.planes)

    def rgb(self) -> np.ndarray:
        """RGB uint8 ``[height, width, 3]``, turned as it is meant to be shown."""
        pixels = self.converter.reformat(self.frame, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, self._quarters)) if self._quarters else pixels

    def luma(self) -> np.ndarray:
        """Brightness as coded, 16 to 235 in most videos, uint8 of the frame's shape; not rotated."""
        brightness = self.frame.format.components[0]
        as_coded = self.frame.format.is_planar and brightness.is_luma and brightness.bits == 8
        plane = (self.frame if as_coded else self.converter.reformat(self.frame, format="gray")).planes[0]
        return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]

    @property
    def _quarters(self) -> int:
        return self.frame.rotation // 90
