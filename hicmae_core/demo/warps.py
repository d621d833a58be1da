"""Smooth displacement fields: what makes one speaker's face differ from another's, and what moves a face.

Every field is a backward one: it says, for a point of the picture, how far away in the portrait its
colour is found, with the sign turned so that a positive unit moves the feature the way its name says.
"""

from __future__ import annotations

import numpy as np

from hicmae_core.demo.portrait import EYES, MOUTH, MOUTH_HALF_WIDTH, bump, curve

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
    """1 on the face, 0 where the moving window of the picture ends."""
    across = np.clip((56 - np.abs(points[..., 0] - MOUTH[0])) / 8, 0, 1)
    down = np.clip((points[..., 1] - 70) / 6, 0, 1) * np.clip((196 - points[..., 1]) / 6, 0, 1)
    return across * down
