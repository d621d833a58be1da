"""The portrait every demo face is made from: NASA's public-domain photograph of Eileen Collins.

`skimage.data.astronaut` ships it. Here its smile is closed and its smile lines softened, so that an
expression is only ever added by a warp, and its parts (skin, hair, suit) get masks of their own.
All coordinates are pixels of the photograph, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

TEXTURE_ORIGIN = (60.0, 0.0)
"""Photograph coordinates of the texture's top left corner."""
TEXTURE_SIZE = (330, 290)
"""Width and height of the texture, in photograph pixels."""
TEXTURE_SCALE = 2
"""Texture pixels per photograph pixel."""

EYES = np.array([[203.0, 101.0], [248.0, 103.5]], np.float32)
"""Centres of the eyes."""
UPPER_LIDS = (
    ((192.0, 100.5), (197.0, 98.0), (203.0, 97.0), (209.0, 98.5), (214.0, 102.5)),
    ((237.0, 104.5), (242.0, 100.5), (248.0, 99.5), (254.0, 101.0), (260.0, 104.0)),
)
LOWER_LIDS = (
    ((192.0, 100.5), (198.0, 103.5), (204.0, 104.5), (209.0, 104.2), (214.0, 102.5)),
    ((237.0, 104.5), (242.0, 106.0), (248.0, 106.8), (254.0, 106.4), (260.0, 104.0)),
)
BROWS = (
    ((189.0, 91.0), (198.0, 88.5), (207.0, 90.0), (213.5, 92.5)),
    ((237.0, 94.0), (247.0, 92.0), (256.0, 93.0), (263.0, 96.5)),
)
MOUTH = (222.5, 146.5)
"""Centre of the closed mouth."""
MOUTH_HALF_WIDTH = 18.5

_SMILE_HALF_WIDTH = 21.5
_SMILE_UPPER_LIP = ((201.0, 139.5), (208.0, 142.0), (215.0, 143.5), (222.0, 144.0), (237.0, 142.5), (245.0, 140.5))
_SMILE_LOWER_LIP = ((201.0, 139.5), (208.0, 145.0), (213.0, 148.8), (222.0, 150.3), (237.0, 146.5), (245.0, 140.5))
_SMILE_LINES = ((202.0, 132.0), (245.0, 132.0))
_SILHOUETTE = (
    (282, 36), (250, 19), (228, 16), (201, 23), (186, 37), (173, 44), (158, 56), (153, 68), (154, 93), (156, 101),
    (169, 117), (172, 125), (182, 135), (183, 144), (178, 149), (161, 149), (139, 159), (132, 166), (122, 181),
    (120, 191), (110, 207), (92, 225), (78, 233), (62, 250), (40, 300), (346, 300), (336, 264), (322, 246), (306, 235),
    (304, 229), (289, 203), (276, 189), (260, 177), (256, 171), (256, 164), (264, 149), (265, 141), (273, 135),
    (292, 114), (301, 89), (295, 56), (288, 43),
)  # fmt: skip
_SKIN = (
    (183, 84), (188, 74), (205, 79), (225, 81), (245, 84), (262, 90), (268, 95), (269, 122), (278, 128), (268, 138),
    (264, 150), (256, 164), (255, 184), (236, 191), (200, 186), (186, 171), (185, 158), (182, 138), (172, 124),
    (181, 118), (181, 100),
)  # fmt: skip


@dataclass(frozen=True)
class Portrait:
    """The closed-mouth portrait: `rgb` [H, W, 3] in 0..1 and masks [H, W] in 0..1, texture pixels."""

    rgb: np.ndarray
    alpha: np.ndarray
    skin: np.ndarray
    hair: np.ndarray
    suit: np.ndarray
    grid: np.ndarray
    """Photograph coordinates of each texture pixel, [H, W, 2]."""


def bump(points: np.ndarray, centre: tuple[float, float] | np.ndarray, sigma_x: float, sigma_y: float) -> np.ndarray:
    """Gaussian of height 1 around `centre`, at `points` [..., 2]."""
    dx = (points[..., 0] - np.float32(centre[0])) / np.float32(sigma_x)
    dy = (points[..., 1] - np.float32(centre[1])) / np.float32(sigma_y)
    return np.exp(-0.5 * (dx * dx + dy * dy))


def curve(x: np.ndarray, points: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Height of the polyline through `points` at `x`, constant beyond its ends."""
    along, height = zip(*points, strict=True)
    return np.interp(x, along, height).astype(np.float32)


def texture_coordinates(points: np.ndarray) -> np.ndarray:
    """Photograph coordinates [..., 2] as pixel coordinates of the texture, for ``cv2.remap``."""
    return (points - np.array(TEXTURE_ORIGIN, np.float32)) * np.float32(TEXTURE_SCALE)


@cache
def load_portrait() -> Portrait:
    """Read the photograph, close its mouth and mark its parts."""
    width, height = (side * TEXTURE_SCALE for side in TEXTURE_SIZE)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    grid = np.stack([x, y], -1) / np.float32(TEXTURE_SCALE) + np.array(TEXTURE_ORIGIN, np.float32)
    photograph = np.array(Image.open(Path(data.__file__).with_name("astronaut.png"))).astype(np.float32) / 255
    source = _closed_mouth(grid)
    rgb = cv2.remap(photograph, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    smooth = cv2.GaussianBlur(rgb, (0, 0), 5 * TEXTURE_SCALE)
    lines = np.clip(sum(1.2 * bump(grid, centre, 6.5, 7.5) for centre in _SMILE_LINES), 0, 1)[..., None]
    rgb = np.clip(rgb + lines * (smooth - rgb), 0, 1)
    alpha = _polygon(_SILHOUETTE, 1.0)
    skin = _polygon(_SKIN, 1.2) * alpha
    suit = alpha * (grid[..., 1] > 185) * np.clip((rgb[..., 0] - rgb[..., 2] - 0.2) * 5, 0, 1)
    hair = alpha * (1 - skin) * np.clip((150 - grid[..., 1]) / 5, 0, 1)
    return Portrait(rgb, alpha, skin, hair, suit.astype(np.float32), grid)


def _closed_mouth(grid: np.ndarray) -> np.ndarray:
    """Where in the photograph each point of the closed-mouth portrait comes from."""
    near = bump(grid, MOUTH, 22, 11)
    widen = 1 + (_SMILE_HALF_WIDTH / MOUTH_HALF_WIDTH - 1) * near
    x = MOUTH[0] + (grid[..., 0] - MOUTH[0]) * widen
    below = grid[..., 1] - np.float32(MOUTH[1])
    lip = np.where(below < 0, curve(x, _SMILE_UPPER_LIP), curve(x, _SMILE_LOWER_LIP))
    reach = np.where(below < 0, 9, 14).astype(np.float32)
    beyond = np.clip(np.abs(grid[..., 0] - MOUTH[0]) - MOUTH_HALF_WIDTH, 0, None)
    fade = np.exp(-0.5 * (below / reach) ** 2) * np.exp(-0.5 * (beyond / 7) ** 2)
    return np.stack([x, grid[..., 1] + (lip - MOUTH[1]) * fade], -1).astype(np.float32)


def _polygon(points: tuple[tuple[int, int], ...], feather: float) -> np.ndarray:
    """Mask of a polygon with an edge softened over `feather` photograph pixels."""
    width, height = (side * TEXTURE_SCALE for side in TEXTURE_SIZE)
    corners = texture_coordinates(np.array(points, np.float32)).round().astype(np.int32)
    mask = cv2.fillPoly(np.zeros((height, width), np.float32), [corners], 1.0)
    return cv2.GaussianBlur(mask, (0, 0), feather * TEXTURE_SCALE)
