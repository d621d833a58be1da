"""Decoded frames that are converted to RGB on demand: upright, in square pixels, as players show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.reformatter import VideoReformatter

from hicmae_core.media.colours import rgb_of, yuv_matrix
from hicmae_core.media.cropping import resized

_MAX_PIXEL_RATIO = 4
"""Pixels of no camera or disc are longer; a ratio beyond is a damaged header."""
_ONE = 1 << 16
_UPRIGHT = (_ONE, 0, 0, _ONE)
_CLOCKWISE = (_UPRIGHT, (0, _ONE, -_ONE, 0), (-_ONE, 0, 0, -_ONE), (0, -_ONE, _ONE, 0))


def _unlisted(kind: type[Type], value: Any) -> Type:
    """A member for side data that PyAV does not list, such as EXIF.

    Without it `frame.side_data` raises ValueError as a whole, and the display matrix beside it is lost.
    """
    member = object.__new__(kind)
    member._name_, member._value_ = f"UNLISTED_{value}", value
    return member


Type._missing_ = classmethod(_unlisted)  # type: ignore[assignment]


@dataclass(frozen=True)
class Display:
    """How frames are meant to be shown.

    Attributes:
        pixel_ratio: Width of a coded pixel over its height.
        matrix: a, b, c, d of the display matrix, by which a pixel at x, y is shown at ``a x + c y, b x + d y``. It is
            used to the quarter turn: what is left of an angle is roll, which the crops take out.
    """

    pixel_ratio: float = 1.0
    matrix: tuple[int, int, int, int] = _UPRIGHT

    @classmethod
    def of(cls, video: av.VideoStream, frame: av.VideoFrame, changed_ratio: Fraction | None = None) -> Display:
        """What a stream and its frame declare.

        Not to be called for every frame: one whose side data was read stays in memory until the garbage collector runs.

        Args:
            video: The stream.
            frame: A frame of it.
            changed_ratio: Of its coded pixels where that has changed midway; what the stream declares is of its start.
        """
        ratio = float(changed_ratio or video.sample_aspect_ratio or 1)
        is_likely = 1 / _MAX_PIXEL_RATIO <= ratio <= _MAX_PIXEL_RATIO
        found = cast(SideData | None, frame.side_data.get("DISPLAYMATRIX"))
        if found is None:
            return cls(ratio if is_likely else 1.0, _tagged(video))
        a, b, _, c, d, *_ = np.frombuffer(memoryview(found), np.int32).tolist()
        return cls(ratio if is_likely else 1.0, (a, b, c, d))

    @property
    def is_transposed(self) -> bool:
        """Whether rows become columns."""
        a, b, c, d = self.matrix
        return abs(b) + abs(c) > abs(a) + abs(d)


def _tagged(video: av.VideoStream) -> tuple[int, int, int, int]:
    """The matrix of the tag ``rotate`` that old programs wrote: degrees, clockwise."""
    tags = {name.lower(): value for name, value in video.metadata.items()}
    degrees = tags.get("rotate", "").removesuffix(".0")
    return _CLOCKWISE[round(int(degrees) / 90) % 4 if degrees.removeprefix("-").isdecimal() else 0]


@dataclass(frozen=True)
class Picture:
    """A frame of a video as FFmpeg keeps it: for most of them it is enough to compare their luma.

    Attributes:
        frame: The decoded frame, neither scaled nor turned.
        converter: Shared by the pictures of one video, it need not be set up for each of them. Not for two threads.
        display: How it is meant to be shown.
    """

    frame: av.VideoFrame
    converter: VideoReformatter = field(default_factory=VideoReformatter, repr=False)
    display: Display = Display()

    @property
    def width(self) -> int:
        """Width as shown, in square pixels and after rotation."""
        return self._square_size[self.display.is_transposed]

    @property
    def height(self) -> int:
        """Height as shown, in square pixels and after rotation."""
        return self._square_size[not self.display.is_transposed]

    @property
    def num_bytes(self) -> int:
        """Memory that it holds."""
        return sum(plane.buffer_size for plane in self.frame.planes)

    def rgb(self) -> np.ndarray:
        """RGB uint8 ``[height, width, 3]`` as it is meant to be shown: upright, in square pixels, on a usual screen."""
        pixels = rgb_of(self.frame, *self._square_size, self.converter)
        a, b, c, d = self.display.matrix
        if self.display.is_transposed:
            pixels, right, down = pixels.swapaxes(0, 1), c, b
        else:
            right, down = a, d
        return np.ascontiguousarray(pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])

    def luma(self) -> np.ndarray:
        """Brightness as coded, 16 to 235 in most videos, uint8 of the frame's shape; neither scaled nor turned."""
        brightness = self.frame.format.components[0]
        as_coded = self.frame.format.is_planar and brightness.is_luma and brightness.bits == 8
        plane = (self.frame if as_coded else self._grey()).planes[0]
        return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]

    def _grey(self) -> av.VideoFrame:
        return self.converter.reformat(self.frame, format="gray", src_colorspace=yuv_matrix(self.frame))

    @property
    def _square_size(self) -> tuple[int, int]:
        """Width and height before rotation, the shorter side of the pixels stretched."""
        ratio = self.display.pixel_ratio
        return round(self.frame.width * max(ratio, 1)), round(self.frame.height * max(1 / ratio, 1))


@dataclass(frozen=True)
class FittedPicture(Picture):
    """A picture of another size than the first of its video, shown inside that size: boxes keep their meaning.

    Attributes:
        size: Width and height of the first picture, pixels. Where the shapes differ there are black bars.
    """

    size: tuple[int, int] = (0, 0)

    @property
    def width(self) -> int:
        """Width of the video's first picture, pixels."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Height of the video's first picture, pixels."""
        return self.size[1]

    def rgb(self) -> np.ndarray:
        """RGB uint8 ``[height, width, 3]``: the picture in the middle, as large as it fits."""
        image = super().rgb()
        scale = min(self.width / image.shape[1], self.height / image.shape[0])
        width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
        left, top = (self.width - width) // 2, (self.height - height) // 2
        fitted = np.zeros((self.height, self.width, 3), np.uint8)
        fitted[top : top + height, left : left + width] = resized(image, width, height)
        return fitted
