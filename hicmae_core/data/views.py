"""Parts of face crops, warped or not, resampled once to the model's size.

Coordinates are homogeneous, from -1 to 1 across the image, so a matrix fits any resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class View(NamedTuple):
    """A part of an image, in pixels, stretched to the model's square."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False

    def matrix(self, side: int) -> Tensor:
        """``[3, 3]``: from places in the result to places in an image of `side` pixels."""
        across, down = self.width / side * (-1 if self.mirrored else 1), self.height / side
        x, y = (2 * self.left + self.width) / side - 1, (2 * self.top + self.height) / side - 1
        return torch.tensor([[across, 0, x], [0, down, y], [0, 0, 1]])


def cut(frames: Tensor, view: View, size: int) -> Tensor:
    """A clip ``[T, S, S, 3]`` uint8 as ``[3, T, size, size]`` float: bilinear, each axis rounded to grey levels."""
    region = frames[:, view.top : view.top + view.height, view.left : view.left + view.width].permute(0, 3, 1, 2)
    pictures = F.interpolate(region, (size, size), mode="bilinear", align_corners=False)
    pictures = pictures.flip(-1) if view.mirrored else pictures
    return torch.empty(3, len(frames), size, size).copy_(pictures.transpose(0, 1))


class Warps(NamedTuple):
    """All warps of each clip and its view, as one resampling."""

    grids: Tensor
    """``[B, size, size, 2]``: the place in the frame that each pixel comes from."""
    inside: list[Sequence[Tensor]]
    """By clip, for each warp in order: how much of each pixel ``[size, size]`` is inside the frame it is applied to."""


def compose(
    matrices: Sequence[Sequence[Tensor]], views: Sequence[View], side: int, size: int, device: torch.device
) -> Warps:
    """Put warps and views together.

    Args:
        matrices: By clip, for each warp in order: from places in its result to places in the frame it is applied to.
        views: What is cut out of the last result of each clip.
        side: Side of the frames, pixels.
        size: Side of the views' results.
        device: Where the clips are.
    """
    to_frame, at_warps = [], []
    for warps, view in zip(matrices, views, strict=True):
        place = view.matrix(side)
        places = []
        for warp in reversed(warps):
            place = warp @ place
            places.append(place)
        to_frame.append(place)
        at_warps.append(places[::-1])
    stacked = torch.stack([*to_frame, *chain.from_iterable(at_warps)]).to(device)
    line = (torch.arange(size, device=device) * 2 + 1) / size - 1
    across, down, shift = (column[:, None, :2] for column in stacked.unbind(-1))
    grids = (line[:, None] * across)[:, None] + (line[:, None] * down + shift)[:, :, None]
    inside = ((1 - grids[len(views) :].abs()) * (side / 2) + 0.5).clamp(0, 1).prod(-1)
    return Warps(grids[: len(views)], list(inside.split([len(places) for places in at_warps])))


def sample(frames: Tensor, grids: Tensor) -> Tensor:
    """Clips ``[B, T, S, S, 3]`` at `grids`, the edge repeated outside: ``[B, 3, T, size, size]`` float; bilinear."""
    pictures = frames.flatten(0, 1).permute(0, 3, 1, 2).float()
    grid = grids[:, None].expand(-1, frames.shape[1], -1, -1, -1).flatten(0, 1)
    pictures = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    result: Tensor = pictures.unflatten(0, frames.shape[:2]).transpose(1, 2)
    return result


def shrink(frames: Tensor, size: int) -> Tensor:
    """Clips ``[B, T, S, S, 3]`` uint8 as ``[B, T, size, size, 3]``, bilinear without smoothing."""
    pictures = frames.flatten(0, 1).permute(0, 3, 1, 2)
    pictures = pictures if frames.device.type == "cpu" else pictures.float()  # only there it is made for bytes
    pictures = F.interpolate(pictures, (size, size), mode="bilinear", align_corners=False)
    result: Tensor = pictures.permute(0, 2, 3, 1).unflatten(0, frames.shape[:2])
    return result
