"""Colours of a frame as an ordinary screen shows them: sRGB's primaries, no more than its white.

Matrix and range of YUV are used as tagged; where there is no tag, players' rule applies (BT.709 from HD on, else
BT.601). Wide gamuts (BT.2020, Display P3) and high dynamic range (PQ, HLG) are converted.
"""

from __future__ import annotations

from functools import cache

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

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
    return _screen()[np.minimum(light * (_STEPS - 1) + 0.5, _STEPS - 1).astype(np.uint16)]


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
