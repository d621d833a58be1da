"""The encoder of one modality."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hicmae_core.model.layers import Block, drop_path_rates, layer_norm
from hicmae_core.model.patches import PatchEmbedding


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
