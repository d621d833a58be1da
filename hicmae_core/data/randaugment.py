"""RandAugment for clips: a few random operations, the same for all frames of a clip.

The operations and their ranges are those of timm's ``rand-m7-n4-mstd0.5-inc1``, which the published
fine-tuning uses ("inc": a higher level always changes the picture more); each chosen operation is applied
with probability one half. Pixels are float, 0 to 255; a clip is ``[3, T, S, S]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import equalize as equalize_histogram

APPLY_PROBABILITY = 0.5
FILL = 128
"""Grey that comes in from outside the picture."""

_LUMA = (0.299, 0.587, 0.114)


def randaugment(clip: Tensor, num_ops: int, magnitude: float, std: float, generator: torch.Generator) -> Tensor:
    """Apply random operations to a clip.

    Args:
        clip: ``[3, T, S, S]``; left alone.
        num_ops: Operations chosen, with replacement.
        magnitude: Mean strength, 0 to 10.
        std: Standard deviation of the strength.
        generator: Source of all choices.
    """
    choices = torch.rand(num_ops, 3, generator=generator, device=generator.device).tolist()
    levels = magnitude + std * torch.randn(num_ops, generator=generator, device=generator.device)
    for (apply, operation, sign), level in zip(choices, (levels / 10).clamp(0, 1).tolist(), strict=True):
        if apply < APPLY_PROBABILITY:
            clip = OPERATIONS[int(operation * len(OPERATIONS))](clip, level if sign < 0.5 else -level).clamp_(0, 255)
    return clip


def autocontrast(clip: Tensor, level: float) -> Tensor:
    """Stretch each colour of each frame to the full range."""
    low, high = clip.amin((-2, -1), keepdim=True), clip.amax((-2, -1), keepdim=True)
    is_flat = high == low
    return (clip - low.masked_fill(is_flat, 0)).mul_((255 / (high - low)).masked_fill(is_flat, 1))


def equalize(clip: Tensor, level: float) -> Tensor:
    """Flatten the histogram of each colour of each frame."""
    planes = clip.flatten(0, 1).unsqueeze(1).to(torch.uint8)
    return equalize_histogram(planes).view(clip.shape).to(clip.dtype)


def invert(clip: Tensor, level: float) -> Tensor:
    """The negative."""
    return 255 - clip


def rotate(clip: Tensor, level: float) -> Tensor:
    """Turn about the centre by up to 30 degrees."""
    angle = math.radians(30 * level)
    cos, sin = math.cos(angle), math.sin(angle)
    return _warp(clip, [[cos, -sin, 0], [sin, cos, 0]])


def posterize(clip: Tensor, level: float) -> Tensor:
    """Keep the 4 highest bits, or fewer."""
    step = 2 ** (4 + int(4 * abs(level)))
    return (clip / step).floor_().mul_(step)


def solarize(clip: Tensor, level: float) -> Tensor:
    """Invert the brighter pixels."""
    threshold = 256 - min(256, int(256 * abs(level)))
    return ((clip >= threshold) * 255.0).sub_(clip).abs_()


def solarize_add(clip: Tensor, level: float) -> Tensor:
    """Brighten the darker half of the range by up to 110."""
    return ((clip < 128) * float(int(110 * abs(level)))).add_(clip)


def color(clip: Tensor, level: float) -> Tensor:
    """Less or more saturation."""
    return torch.lerp(_grey(clip), clip, _factor(level))


def contrast(clip: Tensor, level: float) -> Tensor:
    """Less or more contrast about each frame's mean."""
    return torch.lerp(_grey(clip).mean((-2, -1), keepdim=True), clip, _factor(level))


def brightness(clip: Tensor, level: float) -> Tensor:
    """Darker or brighter."""
    return clip * _factor(level)


def sharpness(clip: Tensor, level: float) -> Tensor:
    """Softer or sharper; the outermost pixels stay."""
    rows = clip[..., :-2, :] + clip[..., 1:-1, :] + clip[..., 2:, :]
    inner = clip[..., 1:-1, 1:-1]
    blurred = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner) / 13
    sharpened = clip.clone()
    sharpened[..., 1:-1, 1:-1] = torch.lerp(blurred, inner, _factor(level))
    return sharpened


def shear_x(clip: Tensor, level: float) -> Tensor:
    """Slant to the side, the top edge fixed."""
    return _warp(clip, [[1, 0.3 * level, 0.3 * level], [0, 1, 0]])


def shear_y(clip: Tensor, level: float) -> Tensor:
    """Slant up or down, the left edge fixed."""
    return _warp(clip, [[1, 0, 0], [0.3 * level, 1, 0.3 * level]])


def translate_x(clip: Tensor, level: float) -> Tensor:
    """Shift sideways by up to 45 % of the width."""
    return _warp(clip, [[1, 0, 0.9 * level], [0, 1, 0]])


def translate_y(clip: Tensor, level: float) -> Tensor:
    """Shift up or down by up to 45 % of the height."""
    return _warp(clip, [[1, 0, 0], [0, 1, 0.9 * level]])


OPERATIONS: tuple[Callable[[Tensor, float], Tensor], ...] = (
    autocontrast,
    equalize,
    invert,
    rotate,
    posterize,
    solarize,
    solarize_add,
    color,
    contrast,
    brightness,
    sharpness,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
"""Each takes a clip and a level from -1 to 1, whose sign says which way where there are two; 0 changes least."""


def _factor(level: float) -> float:
    """Blend factor from 0.1 to 1.9; 1 changes nothing."""
    return max(0.1, 1 + 0.9 * level)


def _grey(clip: Tensor) -> Tensor:
    """Luma ``[1, T, S, S]``."""
    red, green, blue = clip
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(0)


def _warp(clip: Tensor, matrix: list[list[float]]) -> Tensor:
    """Sample each frame where `matrix` sends its pixels, in coordinates from -1 to 1."""
    planes = clip.flatten(0, 1).unsqueeze(0)
    theta = torch.tensor([matrix], dtype=clip.dtype, device=clip.device)
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    warped = F.grid_sample(planes - FILL, grid, mode="bilinear", align_corners=False)
    return warped.add_(FILL).view(clip.shape)
