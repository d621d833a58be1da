"""Cutting videos and spectrograms into patches, embedding the patches and placing them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hicmae_core.model.masking import take


def patchify(x: Tensor, patch_size: tuple[int, ...]) -> Tensor:
    """Cut into non-overlapping patches, in row-major order of the patch grid.

    Args:
        x: ``[B, C, *size]``, each size a multiple of the patch's.
        patch_size: ``(frames, rows, columns)`` for video, ``(log-mel frames, mel bins)`` for audio.

    Returns:
        ``[B, N, C, *patch_size]``.
    """
    num_axes = len(patch_size)
    split = [part for size, step in zip(x.shape[2:], patch_size, strict=True) for part in (size // step, step)]
    grid_axes = [2 + 2 * axis for axis in range(num_axes)]
    patch_axes = [3 + 2 * axis for axis in range(num_axes)]
    cut = x.reshape(*x.shape[:2], *split).permute(0, *grid_axes, 1, *patch_axes)
    return cut.reshape(x.shape[0], math.prod(split[::2]), x.shape[1], *patch_size)


def sinusoid_positions(num_tokens: int, dim: int) -> Tensor:
    """Fixed position table ``[N, D]`` over the flattened token index: sine on even channels, cosine on odd ones."""
    channel = torch.arange(dim)
    rates = 10_000.0 ** (-2 * channel.div(2, rounding_mode="floor").double() / dim)
    angles = torch.arange(num_tokens)[:, None] * rates
    return torch.where(channel % 2 == 0, angles.sin(), angles.cos()).float()


class PatchEmbedding(nn.Module):
    """Linear embedding of patches plus their positions.

    The weight has the shape of a strided convolution's, as published; it is applied as a matrix product, so that
    only the patches that are wanted cost anything.
    """

    def __init__(self, input_shape: tuple[int, ...], patch_size: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.patch_size = patch_size
        self.grid = tuple(size // step for size, step in zip(input_shape[1:], patch_size, strict=True))
        convolution = nn.Conv3d if len(patch_size) == 3 else nn.Conv2d
        self.proj = convolution(input_shape[0], dim, patch_size, patch_size)  # type: ignore[arg-type]
        self.positions: Tensor
        self.register_buffer("positions", sinusoid_positions(math.prod(self.grid), dim), persistent=False)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Embed all patches, or those that `visible` ``[B, V]`` names.

        Args:
            x: ``[B, *input_shape]``.
            visible: Token indices ``[B, V]``; all tokens when None.

        Returns:
            ``[B, V, D]``.

        Raises:
            ValueError: If `x` has another shape than the model was built for.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            expected = ", ".join(str(size) for size in self.input_shape)
            raise ValueError(f"this model takes inputs of shape [B, {expected}], got {list(x.shape)}")
        patches = patchify(x, self.patch_size).flatten(2)
        positions = self.positions
        if visible is not None:
            patches, positions = take(patches, visible), F.embedding(visible, positions)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias) + positions
