"""The same models and objectives written plainly, as the arm to measure against.

Attention is materialised, patches are embedded by a convolution and chosen by boolean indexing, and nothing is fused.
Parameters have the names and shapes of ours, so that both arms compute the same loss from the same weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.plain_step import audio_patches, video_patches
from hicmae_core.config import AUDIO_PATCH, VIDEO_PATCH
from hicmae_core.model.architecture import ClassifierArchitecture, PretrainingArchitecture


class Attention(nn.Module):
    """Attention of one sequence to itself."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = nn.functional.linear(x, self.qkv.weight, bias)
        qkv = qkv.reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(attend(*qkv).transpose(1, 2).reshape(batch, tokens, dim))


class CrossAttention(nn.Module):
    """Attention of one sequence to another."""

    def __init__(self, dim: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(context_dim, 2 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        query = nn.functional.linear(x, self.q.weight, self.q_bias)
        query = query.reshape(batch, tokens, self.num_heads, -1).transpose(1, 2)
        bias = torch.cat((torch.zeros_like(self.v_bias), self.v_bias))
        pair = nn.functional.linear(context, self.kv.weight, bias)
        key, value = pair.reshape(batch, context.shape[1], 2, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(attend(query, key, value).transpose(1, 2).reshape(batch, tokens, dim))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of ``[B, heads, N, d]``, with the whole matrix of weights in memory."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return scores.softmax(dim=-1) @ value


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """A transformer block, with attention to a context first where it has one."""

    def __init__(self, dim: int, num_heads: int, context_dim: int | None = None, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop = drop_path
        if context_dim is not None:
            self.cross_norm1 = nn.LayerNorm(dim, eps=1e-6)
            self.cross_norm2 = nn.LayerNorm(context_dim, eps=1e-6)
            self.cross_attn = CrossAttention(dim, context_dim, num_heads)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is not None:
            x = x + self.drop_path(self.cross_attn(self.cross_norm1(x), self.cross_norm2(context)))
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def drop_path(self, x: Tensor) -> Tensor:
        if self.drop == 0 or not self.training:
            return x
        keep = 1 - self.drop
        return x.div(keep) * (keep + torch.rand(len(x), 1, 1, dtype=x.dtype, device=x.device)).floor()


class PatchEmbedding(nn.Module):
    """A strided convolution over everything."""

    def __init__(self, channels: int, patch_size: tuple[int, ...], dim: int) -> None:
        super().__init__()
        convolution = nn.Conv3d if len(patch_size) == 3 else nn.Conv2d
        self.proj = convolution(channels, dim, patch_size, patch_size)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Encoder(nn.Module):
    """All patches are embedded; the visible ones go on."""

    def __init__(
        self, channels: int, patch_size: tuple[int, ...], num_tokens: int, dim: int, depth: int, heads: int, drop: float
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(channels, patch_size, dim)
        rates = np.linspace(0, drop, depth)
        self.blocks = nn.ModuleList(Block(dim, heads, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.table = sinusoids(num_tokens, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Every block's output, normed."""
        x = self.patch_embed(x)
        x = x + self.table.expand(len(x), -1, -1).type_as(x).to(x.device).clone().detach()
        if mask is not None:
            x = x[~mask].reshape(len(x), -1, x.shape[-1])
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(self.norm(x))
        return outputs


class FusionEncoder(nn.Module):
    """Both modalities read each other's previous layer."""

    def __init__(self, dim: int, dim_audio: int, depth: int, num_heads: int, drop: float) -> None:
        super().__init__()
        rates = np.linspace(0, drop, depth)
        self.blocks = nn.ModuleList(Block(dim, num_heads, dim_audio, rate) for rate in rates)
        self.blocks_audio = nn.ModuleList(Block(dim_audio, num_heads, dim, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.norm_audio = nn.LayerNorm(dim_audio, eps=1e-6)

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        for block, block_audio in zip(self.blocks, self.blocks_audio, strict=True):
            x, audio = block(x, audio), block_audio(audio, x)
        return self.norm(x), self.norm_audio(audio)


class Decoder(nn.Module):
    """Mask tokens and visible ones together."""

    def __init__(self, num_tokens: int, dim: int, depth: int, num_heads: int, patch_values: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, num_heads, dim if index else None) for index in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, patch_values)
        self.table = sinusoids(num_tokens, dim)

    def forward(self, tokens: Tensor, levels: list[Tensor], mask_token: Tensor, mask: Tensor) -> Tensor:
        positions = self.table.expand(len(tokens), -1, -1).type_as(tokens).to(tokens.device).clone().detach()
        visible = positions[~mask].reshape(len(tokens), -1, tokens.shape[-1])
        masked = positions[mask].reshape(len(tokens), -1, tokens.shape[-1])
        x = torch.cat((tokens + visible, mask_token + masked), dim=1)
        for index, block in enumerate(self.blocks):
            x = block(x, levels[-index] + visible) if index else block(x)
        return self.head(self.norm(x[:, -masked.shape[1] :]))


class PlainPretraining(nn.Module):
    """The masked autoencoder of both modalities, with its losses."""

    def __init__(self, a: PretrainingArchitecture) -> None:
        super().__init__()
        self.levels, self.temperature = a.levels, a.temperature
        num_video = a.num_frames // 2 * (a.image_size // 16) ** 2
        num_audio = a.num_audio_frames // 16 * a.num_mel_bins // 16
        self.encoder = Encoder(3, VIDEO_PATCH, num_video, a.video_dim, a.video_depth, a.video_num_heads, 0)
        self.encoder_audio = Encoder(1, AUDIO_PATCH, num_audio, a.audio_dim, a.audio_depth, a.audio_num_heads, 0)
        self.encoder_fusion = FusionEncoder(a.video_dim, a.audio_dim, a.fusion_depth, a.fusion_num_heads, 0)
        self.encoder_to_decoder = nn.Linear(a.video_dim, a.video_decoder_dim, bias=False)
        self.encoder_to_decoder_audio = nn.Linear(a.audio_dim, a.audio_decoder_dim, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, a.video_decoder_dim))
        self.mask_token_audio = nn.Parameter(torch.zeros(1, 1, a.audio_decoder_dim))
        heads = a.video_decoder_num_heads, a.audio_decoder_num_heads
        self.decoder = Decoder(num_video, a.video_decoder_dim, a.video_decoder_depth, heads[0], 1536)
        self.decoder_audio = Decoder(num_audio, a.audio_decoder_dim, a.audio_decoder_depth, heads[1], 256)

    def forward(self, video: Tensor, mask: Tensor, audio: Tensor, mask_audio: Tensor) -> Tensor:
        """The total loss."""
        outputs, outputs_audio = self.encoder(video, mask), self.encoder_audio(audio, mask_audio)
        levels = [outputs[level] for level in self.levels]
        levels_audio = [outputs_audio[level] for level in self.levels]
        contrast = sum(self.contrast(*pair) for pair in zip(levels, levels_audio, strict=True))
        x, y = self.encoder_fusion(outputs[-1], outputs_audio[-1])
        project, project_audio = self.encoder_to_decoder, self.encoder_to_decoder_audio
        x = self.decoder(project(x), [project(level) for level in levels], self.mask_token, mask)
        skips = [project_audio(level) for level in levels_audio]
        y = self.decoder_audio(project_audio(y), skips, self.mask_token_audio, mask_audio)
        with torch.no_grad():
            target = video_patches(video)[mask].reshape(x.shape)
            target_audio = audio_patches(audio)[mask_audio].reshape(y.shape)
        mse = nn.functional.mse_loss
        return mse(x.float(), target) + mse(y.float(), target_audio) + 0.0025 * contrast

    def contrast(self, x: Tensor, y: Tensor) -> Tensor:
        x = nn.functional.normalize(x.float().mean(1), dim=-1)
        y = nn.functional.normalize(y.float().mean(1), dim=-1)
        logits = (x @ y.T).float() / self.temperature
        labels = torch.arange(len(logits), device=logits.device)
        loss = nn.functional.cross_entropy
        return (loss(logits, labels) + loss(logits.T, labels)) / 2


class PlainClassifier(nn.Module):
    """The classifier of both modalities, with its loss."""

    def __init__(self, a: ClassifierArchitecture) -> None:
        super().__init__()
        num_video = a.num_frames // 2 * (a.image_size // 16) ** 2
        num_audio = a.num_audio_frames // 16 * a.num_mel_bins // 16
        drop = a.drop_path
        self.encoder = Encoder(3, VIDEO_PATCH, num_video, a.video_dim, a.video_depth, a.video_num_heads, drop)
        self.encoder_audio = Encoder(1, AUDIO_PATCH, num_audio, a.audio_dim, a.audio_depth, a.audio_num_heads, drop)
        self.encoder_fusion = FusionEncoder(a.video_dim, a.audio_dim, a.fusion_depth, a.fusion_num_heads, drop)
        self.video_layer_weights = nn.Parameter(torch.full((a.video_depth,), 1 / a.video_depth))
        self.audio_layer_weights = nn.Parameter(torch.full((a.audio_depth,), 1 / a.audio_depth))
        self.fc_norm = nn.LayerNorm(2 * (a.video_dim + a.audio_dim), eps=1e-6)
        self.head = nn.Linear(2 * (a.video_dim + a.audio_dim), a.num_outputs)

    def forward(self, video: Tensor, audio: Tensor, distributions: Tensor) -> Tensor:
        """The cross-entropy to label distributions ``[B, classes]``."""
        outputs, outputs_audio = self.encoder(video), self.encoder_audio(audio)
        fused = self.encoder_fusion(outputs[-1], outputs_audio[-1])
        features = [
            (torch.stack(levels).mean(2) * weights.softmax(0)[:, None, None]).sum(0)
            for levels, weights in ((outputs, self.video_layer_weights), (outputs_audio, self.audio_layer_weights))
        ]
        logits = self.head(self.fc_norm(torch.cat((*features, *(tokens.mean(1) for tokens in fused)), dim=-1)))
        return torch.sum(-distributions * logits.float().log_softmax(-1), dim=-1).mean()


def sinusoids(num_tokens: int, dim: int) -> Tensor:
    """Positions ``[1, N, D]``."""
    rows = [[p / 10_000 ** (2 * (channel // 2) / dim) for channel in range(dim)] for p in range(num_tokens)]
    table = np.array(rows)
    table[:, 0::2], table[:, 1::2] = np.sin(table[:, 0::2]), np.cos(table[:, 1::2])
    return torch.tensor(table, dtype=torch.float32)[None]
