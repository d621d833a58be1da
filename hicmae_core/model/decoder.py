"""The decoder of one modality."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hicmae_core.model.layers import Block, CrossBlock, layer_norm
from hicmae_core.model.patches import sinusoid_positions


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
        return self.head(self.norm(x))
