"""Decoded frames that are converted to RGB on demand: upright, in square pixels, as players show them.

Colours become sRGB. Matrix and range of YUV are used as tagged; where there is no tag, players' rule applies (BT.709
from HD on, else BT.601). Wide gamuts (BT.2020, Display P3) and high dynamic range (PQ, HLG) are converted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

from hicmae_core.media.cropping import resized

_MAX_PIXEL_RATIO = 4
"""Pixels of no camera or disc are longer; a ratio beyond is a damaged header."""
_ONE = 1 << 16
_UPRIGHT = (_ONE, 0, 0, _ONE)
_CLOCKWISE = (_UPRIGHT, (0, _ONE, -_ONE, 0), (-_ONE, 0, 0, -_ONE), (0, -_ONE, _ONE, 0))

_HD_WIDTH, _SD_HEIGHT = 1280, 576
_RGB, _UNSPECIFIED, _RESERVED, _BT2020_CONSTANT = 0, 2, 3, 10  # of AVColorSpace
_UNTAGGED = (_UNSPECIFIED, _RESERVED)
_CONVERTIBLE = (_RGB, *_UNTAGGED, 1, 4, 5, 6, 7, 9, _BT2020_CONSTANT)

_SCREEN_GAMMA = 2.4
_SCREEN_WHITE_NITS = 100.0
_HLG_PEAK_NITS, _HLG_GAMMA = 1000.0, 1.2
_KNEE = 0.5
_STEPS = 4096
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
_TO_BT709: dict[int, tuple[tuple[float, ...], ...]] = {
    ColorPrimaries.BT2020: ((1.6605, -0.5877, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    ColorPrimaries.SMPTE432: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
}
"""From linear light of other primaries; rows sum to 1, as both have the same white."""


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
class DecodedFrame:
    """A frame of a video as FFmpeg keeps it: for most of them it is enough to compare their luma.

    Attributes:
        frame: The decoded frame, neither scaled nor turned.
        converter: Shared by the images of one video, it need not be set up for each of them. Not for two threads.
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
class FittedPicture(DecodedFrame):
    """An image of another size than the first of its video, shown inside that size: boxes keep their meaning.

    Attributes:
        size: Width and height of the first image, pixels. Where the shapes differ there are black bars.
    """

    size: tuple[int, int] = (0, 0)

    @property
    def width(self) -> int:
        """Width of the video's first image, pixels."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Height of the video's first image, pixels."""
        return self.size[1]

    def rgb(self) -> np.ndarray:
        """RGB uint8 ``[height, width, 3]``: the image in the middle, as large as it fits."""
        image = super().rgb()
        scale = min(self.width / image.shape[1], self.height / image.shape[0])
        width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
        left, top = (self.width - width) // 2, (self.height - height) // 2
        fitted = np.zeros((self.height, self.width, 3), np.uint8)
        fitted[top : top + height, left : left + width] = resized(image, width, height)
        return fitted


def is_convertible(frame: av.VideoFrame) -> bool:
    """Whether `rgb_of` knows the frame's YUV matrix; YCgCo, ICtCp and the like are not known."""
    return frame.format.is_rgb or frame.colorspace in _CONVERTIBLE


def rgb_of(frame: av.VideoFrame, width: int, height: int, converter: VideoReformatter) -> np.ndarray:
    """A frame at another size, RGB uint8 ``[height, width, 3]``."""
    is_hdr, is_wide = frame.color_trc in _HDR, frame.color_primaries in _TO_BT709
    coded = "rgb48le" if is_hdr or is_wide else "rgb24"
    pixels = converter.reformat(frame, width, height, coded, src_colorspace=yuv_matrix(frame)).to_ndarray()
    return _as_shown(pixels, frame.color_trc, frame.color_primaries) if is_hdr or is_wide else pixels


def yuv_matrix(frame: av.VideoFrame) -> Colorspace | None:
    """The matrix of a frame's YUV where its tag does not give one; constant luminance is read as the usual kind."""
    if frame.format.is_rgb or frame.colorspace not in (*_UNTAGGED, _BT2020_CONSTANT):
        return None
    if frame.colorspace == _BT2020_CONSTANT or frame.color_trc in _HDR:
        return Colorspace.BT2020
    is_hd = frame.width >= _HD_WIDTH or frame.height > _SD_HEIGHT
    return Colorspace.ITU709 if is_hd else Colorspace.ITU601


def _as_shown(pixels: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """From RGB uint16 in any of the transfers and primaries to uint8 for a screen."""
    light = _light(transfer)[pixels]
    if transfer == ColorTrc.ARIB_STD_B67:  # brightness of the scene, which a screen shows with more contrast
        luminance = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        light *= luminance[..., None] ** (_HLG_GAMMA - 1)
        light *= _HLG_PEAK_NITS / _SCREEN_WHITE_NITS
    if primaries != ColorPrimaries.BT709:  # high dynamic range without a tag has BT.2020's
        to_bt709 = _TO_BT709.get(primaries, _TO_BT709[ColorPrimaries.BT2020])
        light = np.maximum(cv2.transform(light, np.array(to_bt709, np.float32)), 0)
    if transfer in _HDR:
        brightest = light.max(-1)
        light *= (_rolled_off(brightest) / np.maximum(brightest, 1e-6))[..., None]
    result: np.ndarray = _screen()[np.minimum(light * (_STEPS - 1) + 0.5, _STEPS - 1).astype(np.uint16)]
    return result


def _rolled_off(light: np.ndarray) -> np.ndarray:
    """Tone mapping: half of the screen's white and less stay as they are, what is brighter approaches white."""
    over = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    return np.where(light > _KNEE, _KNEE + (1 - _KNEE) * over / (1 + over), light)


@cache
def _light(transfer: int) -> np.ndarray:
    """Linear light of 16-bit values, float32 ``[65536]``: 1 is a screen's white, for HLG the camera's largest value."""
    value = np.arange(65536) / 65535
    if transfer == ColorTrc.SMPTE2084:  # SMPTE ST 2084, table 1
        root = value ** (32 / 2523)
        ratio = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
        light = 10_000 * ratio ** (16384 / 2610) / _SCREEN_WHITE_NITS
    elif transfer == ColorTrc.ARIB_STD_B67:  # ITU-R BT.2100, table 5
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    else:
        light = value**_SCREEN_GAMMA
    return light.astype(np.float32)


@cache
def _screen() -> np.ndarray:
    """Values of a screen, uint8 ``[_STEPS]``, from dark to white in even steps of light."""
    return (255 * (np.arange(_STEPS) / (_STEPS - 1)) ** (1 / _SCREEN_GAMMA)).round().astype(np.uint8)
