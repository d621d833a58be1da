"""Faces as a detector would report them, without images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hicmae_core.media.detection import Detections
from hicmae_core.media.tracking import Observations


def faces(*squares: tuple[float, float, float], score: float = 0.9, roll: float = 0.0) -> Detections:
    """Faces given by centre x, centre y and side, with eyes at the slope of `roll`."""
    values = np.array(squares, np.float32).reshape(-1, 3)
    half = values[:, 2:] / 2
    boxes = np.concatenate([values[:, :2] - half, values[:, :2] + half], 1)
    points = np.repeat(values[:, None, :2], 5, 1)
    offset = 0.1725 * values[:, 2:] * np.array([np.cos(roll), np.sin(roll)], np.float32)
    points[:, 0] -= offset
    points[:, 1] += offset
    return Detections(boxes, np.full(len(values), score, np.float32), points)


def seen_by(answers: Sequence[Detections], shots: Sequence[int] | None = None, stride: int = 1) -> Observations:
    """A video of 320 x 240 in which these faces are seen, a frame each, when every `stride`-th is inspected."""
    looks = [(frame, found) for frame, found in enumerate(answers) if frame % stride == 0]
    return Observations(stride, looks, list(shots or [0] * len(answers)), 320, 240)
