"""Face crops: an upright square of an image, placed by the face's box and turned by its roll."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np

PRESETS = {"voxceleb": (0.385, 0.345), "openface": (0.27, 0.39)}
"""Where a frontal face's eyes lie in the crop, and how far apart, as fractions of its side. ``voxceleb`` is the
square detector box, as the release crops VoxCeleb2; ``openface`` is the tighter aligned crop of OpenFace 2."""


def crop_squares(
    squares: np.ndarray, preset: Literal["voxceleb", "openface"], eye_height: float, eye_distance: float
) -> np.ndarray:
    """Place crops on faces.

    Args:
        squares: ``[N, 4]``: centre x, centre y and side of the detector's square box in pixels, roll in radians.
        preset: Crop geometry.
        eye_height: Where the detector's boxes have the eyes, see `Detector`.
        eye_distance: How far apart they have them.

    Returns:
        The crops' squares, ``[N, 4]`` likewise.
    """
    target_height, target_distance = PRESETS[preset]
    x, y, side, roll = squares.T
    crop_side = side * (eye_distance / target_distance)
    down = side * (eye_height - 0.5) + crop_side * (0.5 - target_height)  # along the face's own vertical
    return np.stack([x - down * np.sin(roll), y + down * np.cos(roll), crop_side, roll], 1)


def crop_face(image: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """Cut one square out of an image, upright; outside the image its edge is repeated.

    Args:
        image: RGB uint8 ``[height, width, 3]``.
        square: Centre x, centre y and side in pixels, roll in radians.
        size: Side of the result, pixels.

    Returns:
        RGB uint8 ``[size, size, 3]``.
    """
    x, y, side, roll = (float(value) for value in square)
    reach = side * (abs(math.cos(roll)) + abs(math.sin(roll))) / 2 + 2
    height, width = image.shape[:2]
    left, right = (int(np.clip(value, 0, width - 1)) for value in (x - reach, x + reach))
    top, bottom = (int(np.clip(value, 0, height - 1)) for value in (y - reach, y + reach))
    region = image[top : bottom + 1, left : right + 1]
    shrink = min(1.0, size / side)
    if shrink < 1:  # by area first: the warp below looks at four pixels only
        new_width, new_height = (max(1, round(length * shrink)) for length in (region.shape[1], region.shape[0]))
        shrunk = cv2.resize(region, (new_width, new_height), interpolation=cv2.INTER_AREA)
    else:
        shrunk = region
    x_scale, y_scale = shrunk.shape[1] / region.shape[1], shrunk.shape[0] / region.shape[0]
    step = side / size
    cosine, sine = math.cos(roll) * step, math.sin(roll) * step
    middle = (size - 1) / 2
    # From a pixel of the crop to a pixel of the image; pixel centres lie at +.5 while shrinking.
    origin_x = x - left - (cosine - sine) * middle
    origin_y = y - top - (sine + cosine) * middle
    to_region = np.array(
        [
            [cosine * x_scale, -sine * x_scale, origin_x * x_scale - 0.5],
            [sine * y_scale, cosine * y_scale, origin_y * y_scale - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(shrunk, to_region, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """An image, RGB uint8, as JPEG bytes."""
    written, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written, "JPEG encoding of a uint8 image does not fail"
    return encoded.tobytes()


def nearest(chosen: np.ndarray, num_frames: int) -> np.ndarray:
    """For each frame the nearest of those that have a crop, of two the earlier: indices ``[num_frames]``.

    Args:
        chosen: Indices of the frames that have one, sorted and not empty.
        num_frames: All frames.
    """
    frames = np.arange(num_frames)
    after = np.clip(np.searchsorted(chosen, frames), 0, len(chosen) - 1)
    before = np.maximum(after - 1, 0)
    is_before = np.abs(frames - chosen[before]) <= np.abs(chosen[after] - frames)
    return np.where(is_before, chosen[before], chosen[after])


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels ``[h, w, 3]`` at another size, ``[height, width, 3]``, smoothed where they shrink."""
    way = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=way)
