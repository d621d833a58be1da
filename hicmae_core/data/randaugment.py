"""RandAugment for clips: a few random operations, the same for all frames of a clip, then a view of the result.

The operations and their ranges are those of timm's ``rand-m7-n4-mstd0.5-inc1``, which the published fine-tuning uses
("inc": a higher level always changes the image more); each chosen operation is applied with probability one half.
What is computed is the published order, operations on the whole frame and then a crop, but only for the pixels of the
crop and with one interpolation: all warps and the crop are one matrix, and colours follow at the crop's resolution.
What comes in from outside the frame at one warp takes part in the operations after it; statistics such as a histogram
are those of the whole frame. Pixels are float, 0 to 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from hicmae_core.data.views import View, compose, cut, sample, shrink

APPLY_PROBABILITY = 0.5
FILL = 128.0
"""Grey that comes in from outside the image."""

_LUMA = (0.299, 0.587, 0.114)
_WHOLE_SIZE = 48  # of the whole frame, in small, that statistics are taken from

Matrix = list[list[float]]

Plan = Sequence[tuple[str, float]]
"""The operations on a clip, by name, each with a level from -1 to 1."""


def draw_plans(
    num_clips: int, num_ops: int, magnitude: float, std: float, generator: torch.Generator
) -> list[list[tuple[str, float]]]:
    """Choose operations for clips.

    Args:
        num_clips: Plans wanted.
        num_ops: Operations chosen for each, with replacement.
        magnitude: Mean strength, 0 to 10.
        std: Standard deviation of the strength.
        generator: Source of all choices.
    """
    choices = torch.rand(num_clips, num_ops, 3, generator=generator, device=generator.device).tolist()
    strengths = torch.randn(num_clips, num_ops, generator=generator, device=generator.device)
    levels = ((magnitude + std * strengths) / 10).clamp(0, 1).tolist()
    return [
        [
            (OPERATIONS[int(operation * len(OPERATIONS))], level if sign < 0.5 else -level)
            for (apply, operation, sign), level in zip(*clip, strict=True)
            if apply < APPLY_PROBABILITY
        ]
        for clip in zip(choices, levels, strict=True)
    ]


def render(
    frames: Tensor, plans: Sequence[Plan], views: Sequence[View], size: int
) -> Iterator[tuple[int, slice, Tensor]]:
    """Views of clips after operations on their whole frames.

    Args:
        frames: ``[B, T, S, S, 3]`` uint8 RGB.
        plans: For each clip.
        views: What is cut out of the result, for each clip.
        size: Side of what is cut out, after resizing.

    Yields:
        Piece by piece: which clip, which of its frames, and these as ``[3, frames, size, size]`` float, 0 to 255.
    """
    side, one_by_one = frames.shape[2], _one_by_one(frames)
    matrices = [[torch.tensor(WARPS[name](level)) for name, level in plan if name in WARPS] for plan in plans]
    everything = [View(0, 0, side, side)] * len(views)
    warps, whole_warps = (
        compose(matrices, seen, side, length, frames.device)
        for seen, length in ((views, size), (everything, _WHOLE_SIZE))
    )
    num_clips, num_frames = (1, 4) if one_by_one else frames.shape[:2]
    for clips, times in product(_slices(frames.shape[0], num_clips), _slices(frames.shape[1], num_frames)):
        part = frames[clips, times]
        if one_by_one and not matrices[clips.start]:
            layers = [[cut(part[0], views[clips.start], size)]]
        else:
            layers = [list(sample(part, warps.grids[clips]))]
        if any(name in STATISTICAL for plan in plans[clips] for name, _ in plan):
            layers.append(list(sample(shrink(part, _WHOLE_SIZE), whole_warps.grids[clips])))
        for clip, *pixels in zip(range(len(frames))[clips], *layers, strict=True):
            inside = zip(warps.inside[clip], whole_warps.inside[clip], strict=True)
            yield clip, times, _operate(plans[clip], pixels, inside)


def _one_by_one(frames: Tensor) -> bool:
    """A few frames of one clip are what a processor's cache holds; a GPU is kept busy by whole batches."""
    return frames.device.type == "cpu"


def _operate(plan: Plan, layers: list[Tensor], inside: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """What is left of operations after warping, on a view and, if any asks for them, on the whole frames with it."""
    for name, level in plan:
        if name in WARPS:
            layers = [_fill(pixels, mask) for pixels, mask in zip(layers, next(inside), strict=False)]
        else:
            layers = [COLOURS[name](pixels, level, layers[-1]).clamp_(0, 255) for pixels in layers]
    return layers[0]


def _fill(pixels: Tensor, inside: Tensor) -> Tensor:
    """`FILL` in place of what is not inside."""
    return (pixels - FILL).mul_(inside).add_(FILL)


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, length, max(step, 1))]


def _rotate(level: float) -> Matrix:
    """Turn about the centre by up to 30 degrees."""
    angle = math.radians(30 * level)
    cos, sin = math.cos(angle), math.sin(angle)
    return [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]


def _shear_x(level: float) -> Matrix:
    """Slant to the side by up to 0.3, the top edge fixed."""
    return [[1, 0.3 * level, 0.3 * level], [0, 1, 0], [0, 0, 1]]


def _shear_y(level: float) -> Matrix:
    """Slant up or down by up to 0.3, the left edge fixed."""
    return [[1, 0, 0], [0.3 * level, 1, 0.3 * level], [0, 0, 1]]


def _translate_x(level: float) -> Matrix:
    """Shift sideways by up to 45 % of the width."""
    return [[1, 0, 0.9 * level], [0, 1, 0], [0, 0, 1]]


def _translate_y(level: float) -> Matrix:
    """Shift up or down by up to 45 % of the height."""
    return [[1, 0, 0], [0, 1, 0.9 * level], [0, 0, 1]]


def _autocontrast(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Stretch each colour of each frame to the full range."""
    low, high = whole.amin((-2, -1), keepdim=True), whole.amax((-2, -1), keepdim=True)
    is_flat = high == low
    return (clip - low.masked_fill(is_flat, 0)).mul_((255 / (high - low)).masked_fill(is_flat, 1))


def _equalize(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Flatten the histogram of each colour of each frame."""
    values = whole.flatten(2).round().long()
    histogram = whole.new_zeros(*values.shape[:2], 256).scatter_add_(2, values, torch.ones_like(whole).flatten(2))
    before = histogram.cumsum(2) - histogram
    step = (values.shape[2] - histogram.gather(2, values.amax(2, keepdim=True))) / 255
    unchanged = torch.arange(256, device=clip.device, dtype=clip.dtype)
    table = torch.where(step > 0, (before / step).round().clamp(max=255), unchanged)
    rows = torch.arange(0, table.numel(), 256, device=clip.device, dtype=torch.int32).view(*clip.shape[:2], 1, 1)
    return table.flatten().index_select(0, ((clip + 0.5).int() + rows).flatten()).view(clip.shape)


def _invert(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """The negative."""
    return 255 - clip


def _posterize(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Keep the 4 highest bits, or fewer."""
    step = 2 ** (4 + int(4 * abs(level)))
    result: Tensor = (clip / step).floor_().mul_(step)
    return result


def _solarize(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Invert the brighter pixels."""
    threshold = 256 - min(256, int(256 * abs(level)))
    is_bright = (clip - (threshold - 1)).clamp_(0, 1)
    return is_bright.mul_(255 - 2 * clip).add_(clip)


def _solarize_add(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Brighten the darker half of the range by up to 110."""
    is_dark = (128 - clip).clamp_(0, 1)
    return is_dark.mul_(int(110 * abs(level))).add_(clip)


def _color(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Less or more saturation."""
    return torch.lerp(_grey(clip), clip, _factor(level))


def _contrast(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Less or more contrast about each frame's mean."""
    return torch.lerp(_grey(whole).mean((-2, -1), keepdim=True), clip, _factor(level))


def _brightness(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Darker or brighter."""
    return clip * _factor(level)


def _sharpness(clip: Tensor, level: float, whole: Tensor) -> Tensor:
    """Softer or sharper; the outermost pixels stay."""
    factor = _factor(level)
    rows = (clip[..., :-2, :] + clip[..., 1:-1, :]).add_(clip[..., 2:, :])
    around = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    sharpened = clip.clone()
    inner = sharpened[..., 1:-1, 1:-1]
    # The blur is (all nine pixels + 4 times the middle) / 13.
    inner.mul_(factor + 4 / 13 * (1 - factor)).add_(around, alpha=(1 - factor) / 13)
    return sharpened


def _factor(level: float) -> float:
    """Blend factor from 0.1 to 1.9; 1 changes nothing."""
    return max(0.1, 1 + 0.9 * level)


def _grey(clip: Tensor) -> Tensor:
    """Luma ``[1, T, S, S]``."""
    red, green, blue = clip
    result: Tensor = (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(0)
    return result


WARPS: dict[str, Callable[[float], Matrix]] = {
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""By level: where in the frame each place of the result is taken from, in homogeneous coordinates from -1 to 1."""

COLOURS: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _invert,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}
"""Of a clip ``[3, T, S, S]``, a level, and the whole frames, in small, for those that are `STATISTICAL`."""

STATISTICAL = frozenset({"autocontrast", "equalize", "contrast"})
"""What is done to a pixel depends on all of its frame."""

OPERATIONS = (*WARPS, *COLOURS)
"""Names of all operations. The sign of a level says which way where there are two; 0 changes least."""
