"""Patch embedding, the encoder and the decoder of one modality (paper section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hicmae_core.model.layers import Block, CrossBlock, drop_path_rates, layer_norm
from hicmae_core.model.masking import take


class Encoder(nn.Module):
    """A vision transformer over the visible patches of one modality (paper section 3.2)."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        patch_size: tuple[int, ...],
        dim: int,
        depth: int,
        num_heads: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(input_shape, patch_size, dim)
        self.blocks = nn.ModuleList(Block(dim, num_heads, rate) for rate in drop_path_rates(drop_path, depth))
        self.norm = layer_norm(dim)

    def forward(self, x: Tensor, levels: Sequence[int], visible: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Encode an input.

        Args:
            x: ``[B, *input_shape]``.
            levels: Blocks whose outputs are wanted, 0-based and ascending.
            visible: Indices ``[B, V]`` of the tokens to encode; all when None.

        Returns:
            The last block's output ``[B, V, D]`` and those of `levels`, all through the one final norm.
        """
        tokens = self.patch_embed(x, visible)
        outputs = {}
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in levels or index == len(self.blocks) - 1:
                outputs[index] = self.norm(tokens)
        return outputs[len(self.blocks) - 1], [outputs[level] for level in levels]


class Decoder(nn.Module):
    """Reconstructs masked patches, looking back at the encoder's levels if it has `skips` (paper section 3.4)."""

    def __init__(
        self, num_tokens: int, dim: int, depth: int, num_heads: int, patch_values: int, skips: bool = True
    ) -> None:
        super().__init__()
        self.skips = skips
        further = (CrossBlock(dim, dim, num_heads) if skips else Block(dim, num_heads) for _ in range(depth - 1))
        self.blocks = nn.ModuleList([Block(dim, num_heads), *further])
        self.norm = layer_norm(dim)
        self.head = nn.Linear(dim, patch_values)
        self.positions: Tensor
        self.register_buffer("positions", sinusoid_positions(num_tokens, dim), persistent=False)

    def forward(
        self, tokens: Tensor, contexts: list[Tensor], mask_token: Tensor, visible: Tensor, masked: Tensor
    ) -> Tensor:
        """Predict the masked patches.

        Args:
            tokens: Visible tokens ``[B, V, D]``.
            contexts: At least one ``[B, V, D]`` for each block but the first; the second block reads the last.
                Without skips none is read.
            mask_token: ``[1, 1, D]``.
            visible: Indices ``[B, V]`` of the visible tokens.
            masked: Indices ``[B, M]`` of the masked tokens.

        Returns:
            ``[B, M, patch values]``.
        """
        visible_positions = F.embedding(visible, self.positions)
        x = torch.cat((tokens + visible_positions, mask_token + F.embedding(masked, self.positions)), dim=1)
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            context = [contexts[-index] + visible_positions] if self.skips and index > 0 else []
            x = block(x, *context, first=visible.shape[1] if index == last else 0)  # then only masked tokens are left
        result: Tensor = self.head(self.norm(x))
        return result


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
