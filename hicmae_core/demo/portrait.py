"""The portrait every demo face is made from: NASA's public-domain photograph of Eileen Collins.

`skimage.data.astronaut` ships it. Here its smile is closed and its smile lines softened, so that an
expression is only ever added by a warp, and its parts (skin, hair, suit) get masks of their own.
All coordinates are pixels of the photograph, x to the right and y down.

Displacement fields are backward: for a point of the image they say how far away in the portrait its colour is found,
with the sign turned so that a positive unit moves the feature the way its name says.
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

MOVEMENTS = (
    "brow_inner", "brow_outer", "brow_knit", "eye_wide", "squint", "corner_up", "corner_out", "lip_press", "yaw",
    "pitch",
)  # fmt: skip
"""Facial movements that are linear in their amount, which is in pixels of the portrait (`eye_wide`: a fraction)."""

_CHIN_Y = 178.0
_CORNERS = ((MOUTH[0] - MOUTH_HALF_WIDTH, MOUTH[1]), (MOUTH[0] + MOUTH_HALF_WIDTH, MOUTH[1]))
_INNER_BROWS = ((212.0, 91.0), (238.5, 93.5))
_OUTER_BROWS = ((194.0, 89.5), (258.0, 93.5))
_CHEEKS = ((194.0, 127.0), (252.0, 128.0))


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
    result: np.ndarray = np.interp(x, along, height).astype(np.float32)
    return result


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


def geometry(points: np.ndarray, shape: dict[str, float]) -> np.ndarray:
    """Portrait coordinates of `points` [..., 2] of a speaker of that `shape`."""
    x, y = points[..., 0], points[..., 1]
    middle = MOUTH[0]
    head = bump(points, (middle, 130), 48, 48)
    dx = shape["face_width"] * (x - middle) * head
    dx = dx + shape["jaw_width"] * (x - middle) * bump(points, (middle, 168), 40, 17)
    dx = dx + shape["nose_width"] * (x - middle) * bump(points, (middle, 129), 9, 9)
    dx = dx + shape["mouth_width"] * (x - middle) * bump(points, MOUTH, 18, 9)
    dy = shape["face_length"] * (y - 125) * head
    dy = dy + shape["chin"] * bump(points, (middle, 176), 35, 13)
    dy = dy + shape["nose_length"] * bump(points, (middle, 129), 13, 11)
    dy = dy + shape["lip_thickness"] * (y - MOUTH[1]) * bump(points, MOUTH, 15, 6)
    for eye, side in zip(EYES, (-1, 1), strict=True):
        near = bump(points, eye, 14, 9)
        dx = dx + side * shape["eye_spacing"] * bump(points, eye, 16, 14) + shape["eye_size"] * (x - eye[0]) * near
        dy = dy + shape["eye_size"] * (y - eye[1]) * near
        dy = dy - shape["brow_height"] * bump(points, (eye[0], eye[1] - 12), 16, 6)
    away = 1 - bump(points, (middle + 2, 125), 36, 42)
    above = 1 / (1 + np.exp((y - 135) / 6))
    dx = dx + shape["hair_volume"] * (x - middle) * away * above
    dy = dy + shape["hair_volume"] * (y - 90) * away * above
    return np.stack([x - dx, y - dy], -1).astype(np.float32)


def movement_fields(points: np.ndarray) -> np.ndarray:
    """Displacement per unit of each of `MOVEMENTS` at `points` [..., 2], as [len(MOVEMENTS), ..., 2]."""
    x, y = points[..., 0], points[..., 1]
    zero = np.zeros_like(x)
    up_inner = -sum(bump(points, brow, 9, 7) for brow in _INNER_BROWS)
    up_outer = -sum(bump(points, brow, 9, 7) for brow in _OUTER_BROWS)
    knit = bump(points, _INNER_BROWS[0], 8, 7) - bump(points, _INNER_BROWS[1], 8, 7)
    wide = sum((y - eye[1]) * bump(points, eye, 14, 6) for eye in EYES)
    squint = -sum(bump(points, (eye[0], eye[1] + 7), 12, 4) for eye in EYES)
    corners = [bump(points, corner, 10, 8) for corner in _CORNERS]
    cheeks = sum(bump(points, cheek, 13, 11) for cheek in _CHEEKS)
    press = -(y - MOUTH[1]) * 0.3 * bump(points, MOUTH, 20, 5)
    turning = np.clip(1 - ((x - MOUTH[0]) / 46) ** 2, 0, None) * bump(points, (MOUTH[0], 125), 60, 26)
    by_name = {
        "brow_inner": (zero, up_inner),
        "brow_outer": (zero, up_outer),
        "brow_knit": (knit, zero),
        "eye_wide": (zero, wide),
        "squint": (zero, squint),
        "corner_up": (zero, -sum(corners) - 0.35 * cheeks),
        "corner_out": (corners[1] - corners[0], zero),
        "lip_press": (zero, press),
        "yaw": (turning, zero),
        "pitch": (zero, turning),
    }
    edge = _edge_fade(points)
    return np.stack([np.stack(by_name[name], -1) * edge[..., None] for name in MOVEMENTS]).astype(np.float32)


def open_mouth(points: np.ndarray, opening: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Open the mouth by `opening` pixels at its middle.

    Returns:
        Points of the closed-mouth portrait [..., 2]; depth below the upper lip, pixels; and the cover
        of the mouth's inside, 0..1.
    """
    x, y = points[..., 0], points[..., 1]
    across = np.clip(1 - ((x - MOUTH[0]) / MOUTH_HALF_WIDTH) ** 2, 0, None)
    lips = opening * across
    depth = y - np.float32(MOUTH[1]) + 0.3 * lips
    below = np.clip(depth - lips, 0, None)
    near_lip = np.exp(-below / 8)
    jaw = np.exp(-0.5 * ((x - MOUTH[0]) / 34) ** 2) * np.clip((_CHIN_Y + 16 - y) / 16, 0, 1) * opening * 0.7
    lower = near_lip * lips * 0.7 + (1 - near_lip) * jaw
    upper = 0.3 * lips * np.exp(-np.clip(-depth, 0, None) / 6)
    inside = np.clip(depth + 0.5, 0, 1) * np.clip(lips - depth + 0.5, 0, 1) * np.clip(lips - 0.5, 0, 1)
    source_y = np.where(depth > 0, y - lower, y + upper)
    return np.stack([x, source_y], -1), depth, inside


def close_lid(
    points: np.ndarray, upper: tuple[tuple[float, float], ...], lower: tuple[tuple[float, float], ...], closure: float
) -> np.ndarray:
    """Slide an upper lid down over its eye, in place; `closure` 1 shuts it. `points` [..., 2]."""
    x, y = points[..., 0], points[..., 1]
    rim = curve(x, upper)
    width = np.clip(1 - (np.abs(x - (upper[0][0] + upper[-1][0]) / 2) - 10) / 4, 0, 1)
    drop = (curve(x, lower) - rim + 0.5) * np.float32(closure) * width
    above = rim + 0.8 + drop - y
    points[..., 1] = np.where(above > 0, y - drop * np.clip(1 - above / 10, 0, None), y)
    return points


def _edge_fade(points: np.ndarray) -> np.ndarray:
    """1 on the face, 0 where the moving window of the image ends."""
    across = np.clip((56 - np.abs(points[..., 0] - MOUTH[0])) / 8, 0, 1)
    down = np.clip((points[..., 1] - 70) / 6, 0, 1) * np.clip((196 - points[..., 1]) / 6, 0, 1)
    return across * down
