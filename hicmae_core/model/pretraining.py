"""The pre-training model: two masked autoencoders tied by contrast and fusion (paper section 3)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from hicmae_core.model.architecture import IN_CHANNELS, PretrainingArchitecture
from hicmae_core.model.encoder import Decoder, Encoder
from hicmae_core.model.layers import FusionEncoder, init_weights
from hicmae_core.model.masking import TokenSplit, split_tokens


class PretrainingOutput(NamedTuple):
    """What the pre-training losses need.

    Attributes:
        video: Predictions of the masked video patches, ``[B, masked, 3 * pixels]``, 1536 wide as published.
        audio: Predictions of the masked audio patches, ``[B, masked, values]``, 256 wide as published.
        contrastive_logits: Per level, shallow to deep, ``[B, B]``: video rows, audio columns, divided by tau.
            B counts the clips of all processes when negatives are gathered, and with `pairs` those alone.
    """

    video: Tensor
    audio: Tensor
    contrastive_logits: list[Tensor]


class PretrainingModel(nn.Module):
    """Hierarchical contrastive masked autoencoder. Parameters carry the names of the published checkpoints."""

    def __init__(self, architecture: PretrainingArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.encoder = Encoder(a.video_shape, a.video_patch, a.video_dim, a.video_depth, a.video_num_heads)
        self.encoder_audio = Encoder(a.audio_shape, a.audio_patch, a.audio_dim, a.audio_depth, a.audio_num_heads)
        self.encoder_fusion = FusionEncoder(a.video_dim, a.audio_dim, a.fusion_depth, a.fusion_num_heads)
        self.encoder_to_decoder = nn.Linear(a.video_dim, a.video_decoder_dim, bias=False)
        self.encoder_to_decoder_audio = nn.Linear(a.audio_dim, a.audio_decoder_dim, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, a.video_decoder_dim))
        self.mask_token_audio = nn.Parameter(torch.zeros(1, 1, a.audio_decoder_dim))
        self.decoder = Decoder(
            math.prod(self.video_grid),
            a.video_decoder_dim,
            a.video_decoder_depth,
            a.video_decoder_num_heads,
            IN_CHANNELS * math.prod(a.video_patch),
            a.skips,
        )
        self.decoder_audio = Decoder(
            math.prod(self.audio_grid),
            a.audio_decoder_dim,
            a.audio_decoder_depth,
            a.audio_decoder_num_heads,
            math.prod(a.audio_patch),
            a.skips,
        )
        self.apply(init_weights)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.mask_token_audio, std=0.02)

    @property
    def video_grid(self) -> tuple[int, ...]:
        """Video tokens along (time, height, width)."""
        return self.encoder.patch_embed.grid

    @property
    def audio_grid(self) -> tuple[int, ...]:
        """Audio tokens along (time, mel)."""
        return self.encoder_audio.patch_embed.grid

    def forward(
        self,
        video: Tensor,
        video_mask: Tensor | TokenSplit,
        audio: Tensor,
        audio_mask: Tensor | TokenSplit,
        pairs: Tensor | None = None,
    ) -> PretrainingOutput:
        """Reconstruct the masked patches and contrast the modalities.

        A face without a voice, or the reverse, goes from its encoder to its decoder past fusion, and is not contrasted.

        Args:
            video: ImageNet-normalised clips ``[B, 3, T, H, W]``.
            video_mask: ``[B, video tokens]``, 1 where masked, equally many in every row; or the split of the tokens,
                for which nothing waits for the device.
            audio: Normalised log-mel spectrograms ``[B, 1, time, mel]``.
            audio_mask: ``[B, audio tokens]``, likewise.
            pairs: ``[2, P]``, the rows of `video` and of `audio` that are of one clip; None if all are, in order.

        Raises:
            ValueError: If an input or a mask does not have the shape the model was built for, or the rows of
                a mask differ in their number of masked tokens.
        """
        self._check_mask("video_mask", video_mask, len(video), self.video_grid)
        self._check_mask("audio_mask", audio_mask, len(audio), self.audio_grid)
        visible, masked = split_tokens(video_mask)
        visible_audio, masked_audio = split_tokens(audio_mask)
        tokens, levels = self.encoder(video, self.architecture.levels, visible)
        tokens_audio, levels_audio = self.encoder_audio(audio, self.architecture.levels, visible_audio)
        if pairs is None:
            contrasted, contrasted_audio = levels, levels_audio
            tokens, tokens_audio = self.encoder_fusion(tokens, tokens_audio)
        else:
            rows, rows_audio = pairs
            contrasted, contrasted_audio = ([x[rows] for x in levels], [x[rows_audio] for x in levels_audio])
            fused, fused_audio = self.encoder_fusion(tokens[rows], tokens_audio[rows_audio])
            tokens = tokens.index_copy(0, rows, fused.to(tokens.dtype))
            tokens_audio = tokens_audio.index_copy(0, rows_audio, fused_audio.to(tokens_audio.dtype))
        logits = [self._contrast(*pair) for pair in zip(contrasted, contrasted_audio, strict=True)]
        project, project_audio = self.encoder_to_decoder, self.encoder_to_decoder_audio
        if not self.architecture.skips:
            levels, levels_audio = [], []
        return PretrainingOutput(
            video=self.decoder(project(tokens), [project(level) for level in levels], self.mask_token, visible, masked),
            audio=self.decoder_audio(
                project_audio(tokens_audio),
                [project_audio(level) for level in levels_audio],
                self.mask_token_audio,
                visible_audio,
                masked_audio,
            ),
            contrastive_logits=logits,
        )

    def _contrast(self, video: Tensor, audio: Tensor) -> Tensor:
        """Cosine of every video with every audio, divided by tau, in full precision (section 3.2.2)."""
        with torch.autocast(video.device.type, enabled=False):
            rows, columns = (F.normalize(_in_full(tokens).mean(dim=1), dim=-1) for tokens in (video, audio))
            if self.architecture.gather_negatives:
                rows, columns = all_gather_with_grad(rows), all_gather_with_grad(columns)
            return rows @ columns.T / self.architecture.temperature

    @staticmethod
    def _check_mask(name: str, mask: Tensor | TokenSplit, batch_size: int, grid: tuple[int, ...]) -> None:
        if tuple(mask.shape) != (batch_size, math.prod(grid)):
            raise ValueError(f"{name} must have shape {[batch_size, math.prod(grid)]}, got {list(mask.shape)}")


def _in_full(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def all_gather_with_grad(x: Tensor) -> Tensor:
    """Rows of every process in the order of their ranks; `x` itself where there is one process.

    Every process must compute the same loss from the result, from equally many rows. Gradients averaged over
    processes, as `DistributedDataParallel` does, are then those of that loss.

    Args:
        x: ``[B, D]``.

    Returns:
        ``[processes * B, D]``.
    """
    if not distributed.is_initialized():
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


class _Gather(torch.autograd.Function):
    """Gathers rows; backward hands this process its own, scaled against the averaging to come."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        own = gradients[0].chunk(distributed.get_world_size())[distributed.get_rank()]
        return own * distributed.get_world_size()
