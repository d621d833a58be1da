"""Moving images of one speaker's face, by warping the portrait."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hicmae_core.demo.portrait import (
    BROWS,
    EYES,
    LOWER_LIDS,
    MOUTH,
    MOVEMENTS,
    TEXTURE_SCALE,
    UPPER_LIDS,
    Portrait,
    bump,
    close_lid,
    geometry,
    load_portrait,
    movement_fields,
    open_mouth,
    texture_coordinates,
)
from hicmae_core.demo.script import Speaker

FRAME_SIZE = 224
"""Width and height of the clips, pixels."""

_CANVAS_ORIGIN = (78.0, 0.0)
_CANVAS_SIZE = (288, 264)
_FACE = (slice(62, 200), slice(86, 206))
_EYES = ((slice(16, 58), slice(18, 58)), (slice(16, 58), slice(64, 106)))
_MOUTH = (slice(66, 128), slice(28, 92))
_SHADED = (slice(14, 96), slice(28, 92))
_PIVOT = (MOUTH[0] - _CANVAS_ORIGIN[0], 150.0)
_PIVOT_HEIGHT = 144
_TEETH = np.array([0.88, 0.85, 0.8], np.float32)
_THROAT = np.array([0.22, 0.07, 0.08], np.float32)


@dataclass(frozen=True)
class Pose:
    """Where a face is in the frame, pixels and degrees."""

    x: float
    y: float
    roll: float
    scale: float


class FaceRenderer:
    """Pictures of one speaker."""

    def __init__(self, speaker: Speaker) -> None:
        portrait = load_portrait()
        self._texture = _dressed(portrait, speaker)
        width, height = _CANVAS_SIZE
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        portrait_points = geometry(np.stack([x, y], -1) + np.array(_CANVAS_ORIGIN, np.float32), speaker.shape)
        self._still = self._sample(portrait_points)
        self._points = portrait_points[_FACE]
        self._fields = movement_fields(self._points).reshape(len(MOVEMENTS), -1)
        furrow = bump(self._points, (221.0, 93), 1.6, 6) + bump(self._points, (229.5, 93), 1.6, 6)
        creases = bump(self._points, (201, 133), 2.2, 9) + bump(self._points, (245.5, 133), 2.2, 9)
        self._furrow, self._creases = _threefold(furrow)[_SHADED], _threefold(creases)[_SHADED]
        self._teeth = _TEETH * np.float32(0.6 + 0.4 * min(speaker.skin[0], 1.0))
        self._glasses = _spectacles(self._points) if speaker.glasses else None

    def draw(self, movements: np.ndarray, mouth_opening: float, lid_closure: float) -> np.ndarray:
        """The face in one instant.

        Args:
            movements: Amounts of `MOVEMENTS`.
            mouth_opening: Pixels between the lips.
            lid_closure: 0 for open eyes, 1 for shut ones.

        Returns:
            RGB and alpha [264, 288, 4] in 0..1, the colours multiplied by alpha.
        """
        points = self._points - (movements @ self._fields).reshape(self._points.shape)
        points, depth, inside = open_mouth(points, max(mouth_opening, 0.0))
        for eye, upper, lower in zip(_EYES, UPPER_LIDS, LOWER_LIDS, strict=True):
            close_lid(points[eye], upper, lower, lid_closure)
        face = self._sample(points)
        colour = np.ascontiguousarray(face[..., :3])
        amounts = dict(zip(MOVEMENTS, movements.tolist(), strict=True))
        shade = (
            0.11 * max(amounts["brow_knit"], 0) * self._furrow + 0.035 * max(amounts["corner_up"], 0) * self._creases
        )
        colour[_SHADED] *= 1 - np.minimum(shade, 0.6)
        teeth = _threefold(np.clip((4.5 - depth[_MOUTH]) / 1.5, 0, 1))
        within = teeth * self._teeth + (1 - teeth) * _THROAT
        colour[_MOUTH] += _threefold(inside[_MOUTH]) * (within - colour[_MOUTH])
        if self._glasses is not None:
            colour *= self._glasses
        canvas = self._still.copy()
        canvas[_FACE] = cv2.merge([colour, face[..., 3]])
        return canvas

    def at_rest(self) -> np.ndarray:
        """The face without any expression, as `draw` gives it."""
        return self._still

    def _sample(self, portrait_points: np.ndarray) -> np.ndarray:
        at = texture_coordinates(portrait_points)
        return cv2.remap(self._texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def place(canvas: np.ndarray, pose: Pose, picture: np.ndarray) -> np.ndarray:
    """Put a drawn face over `picture` [224, 224, 3]."""
    matrix = cv2.getRotationMatrix2D(_PIVOT, pose.roll, pose.scale)
    matrix[0, 2] += FRAME_SIZE / 2 + pose.x - _PIVOT[0]
    matrix[1, 2] += _PIVOT_HEIGHT + pose.y - _PIVOT[1]
    placed = cv2.warpAffine(canvas, matrix, (FRAME_SIZE, FRAME_SIZE), flags=cv2.INTER_LINEAR)
    behind = _threefold(1 - placed[..., 3])
    behind *= picture
    behind += cv2.cvtColor(placed, cv2.COLOR_BGRA2BGR)
    return behind


def backdrop(generator: np.random.Generator) -> np.ndarray:
    """A blurred room: a gradient with a few soft shapes, [224, 224, 3] in 0..1."""
    picture = cv2.resize(_muted(generator, (2, 2)), (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_LINEAR)
    for colour in _muted(generator, (int(generator.integers(2, 6)),)).tolist():
        left, top, right, bottom = generator.uniform(-40, FRAME_SIZE + 40, 4).astype(int).tolist()
        cv2.rectangle(picture, (left, top), (right, bottom), colour, -1)
    return cv2.GaussianBlur(picture, (0, 0), float(generator.uniform(4, 10)))


def _muted(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Colours of low saturation, [*shape, 3]."""
    grey = generator.uniform(0.15, 0.85, (*shape, 1))
    return (grey * generator.uniform(0.8, 1.2, (*shape, 3))).astype(np.float32)


def lighting(generator: np.random.Generator) -> np.ndarray:
    """A light from somewhere, with a colour cast: factors [224, 224, 3]."""
    angle, strength = generator.uniform(0, 2 * np.pi), generator.uniform(0.05, 0.35)
    along = np.linspace(-1, 1, FRAME_SIZE, dtype=np.float32)
    ramp = 1 + np.float32(strength) * (np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None])
    cast = generator.uniform(0.92, 1.08, 3) * generator.uniform(0.8, 1.12)
    result: np.ndarray = (ramp[..., None] * cast).astype(np.float32)
    return result


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """0..1 as 0..255."""
    result: np.ndarray = cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)
    return result


def _dressed(portrait: Portrait, speaker: Speaker) -> np.ndarray:
    """The portrait's texture in a speaker's colours: RGB times alpha, and alpha."""
    rgb, grid = portrait.rgb, portrait.grid
    eyes = np.clip(sum(bump(grid, eye, 8, 3.2) for eye in EYES), 0, 1)
    skin = (portrait.skin * (1 - 0.8 * eyes))[..., None]
    rgb = rgb * (1 + skin * (np.array(speaker.skin, np.float32) - 1))
    grey = portrait.rgb.mean(-1, keepdims=True)
    rgb = rgb + portrait.hair[..., None] * (grey * 1.5 * np.array(speaker.hair, np.float32) - rgb)
    rgb = rgb + portrait.suit[..., None] * (grey * 1.7 * np.array(speaker.suit, np.float32) - rgb)
    if speaker.stubble:
        beard = bump(grid, (MOUTH[0], 163), 34, 17) * portrait.skin * (1 - bump(grid, MOUTH, 15, 4))
        rgb = rgb * (1 - speaker.stubble * beard[..., None])
    brows = _lines(BROWS, speaker.brow_thickness, grid.shape[:2])
    dark = 0.45 * np.array(speaker.hair, np.float32) * np.float32(min(speaker.skin[0], 1.0))
    rgb = rgb + 0.85 * brows[..., None] * (dark - rgb)
    alpha = portrait.alpha[..., None]
    return np.concatenate([np.clip(rgb, 0, 1) * alpha, alpha], -1).astype(np.float32)


def _lines(lines: tuple[tuple[tuple[float, float], ...], ...], thickness: float, size: tuple[int, int]) -> np.ndarray:
    """Soft polylines, `thickness` in portrait pixels, drawn on the texture."""
    mask = np.zeros(size, np.float32)
    for line in lines:
        corners = (texture_coordinates(np.array(line, np.float32)) * 16).astype(np.int32)
        cv2.polylines(mask, [corners], False, 1.0, round(thickness * TEXTURE_SCALE), cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), 0.6 * TEXTURE_SCALE)


def _spectacles(points: np.ndarray) -> np.ndarray:
    """Factors that draw the rims and the bridge of a pair of glasses, [..., 3]."""
    (left_x, left_y), (right_x, right_y) = EYES.tolist()
    rims = [np.hypot((points[..., 0] - x) / 16, (points[..., 1] - y - 2) / 12.5) for x, y in EYES.tolist()]
    near = np.minimum(*[np.abs(rim - 1) * 13 for rim in rims])
    beyond = np.clip(np.abs(points[..., 0] - (left_x + right_x) / 2) - 7, 0, None)
    bridge = np.abs(points[..., 1] - (left_y + right_y) / 2) + 3 * beyond
    return _threefold(1 - 0.75 * np.clip(1.8 - np.minimum(near, bridge), 0, 1))


def _threefold(mask: np.ndarray) -> np.ndarray:
    """A mask [H, W] for each of three colours, [H, W, 3]."""
    return cv2.merge([mask.astype(np.float32)] * 3)
