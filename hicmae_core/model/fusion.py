"""The fusion encoder, in which the modalities look at each other."""

from __future__ import annotations

from torch import Tensor, nn

from hicmae_core.model.layers import CrossBlock, drop_path_rates, layer_norm


class FusionEncoder(nn.Module):
    """Cross blocks per modality, both reading the other's previous layer (paper section 3.3)."""

    def __init__(self, video_dim: int, audio_dim: int, depth: int, num_heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        rates = drop_path_rates(drop_path, depth)
        self.blocks = nn.ModuleList(CrossBlock(video_dim, audio_dim, num_heads, rate) for rate in rates)
        self.blocks_audio = nn.ModuleList(CrossBlock(audio_dim, video_dim, num_heads, rate) for rate in rates)
        self.norm = layer_norm(video_dim)
        self.norm_audio = layer_norm(audio_dim)

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse video tokens ``[B, V, D]`` and audio tokens ``[B, A, D]``; shapes stay as they are."""
        for block, block_audio in zip(self.blocks, self.blocks_audio, strict=True):
            video, audio = block(video, audio), block_audio(audio, video)
        return self.norm(video), self.norm_audio(audio)
