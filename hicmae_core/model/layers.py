"""Transformer blocks, within a modality and across modalities, and the fusion encoder made of the latter."""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

MLP_RATIO = 4
NORM_EPSILON = 1e-6


def layer_norm(dim: int) -> nn.LayerNorm:
    """The LayerNorm used everywhere in the model."""
    return nn.LayerNorm(dim, eps=NORM_EPSILON)


def _attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> Tensor:
    """Scaled dot-product attention of ``[B, N, D]`` queries over ``[B, M, D]`` keys and values, by head."""
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:  # the fused kernel takes twice as long (benchmarks)
        mixed = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v)
    result: Tensor = mixed.transpose(1, 2).flatten(2)
    return result


class Attention(nn.Module):
    """Self-attention with learned query and value biases; the key bias is zero."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Tokens ``[B, N, D]`` to ``[B, N - first, D]``: those before `first` are read, but ask for nothing."""
        bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        if first == 0:
            query, key, value = F.linear(x, self.qkv.weight, bias).chunk(3, dim=-1)
        else:
            dim = len(self.q_bias)
            query = F.linear(x[:, first:], self.qkv.weight[:dim], self.q_bias)
            key, value = F.linear(x, self.qkv.weight[dim:], bias[dim:]).chunk(2, dim=-1)
        result: Tensor = self.proj(_attend(query, key, value, self.num_heads))
        return result


class CrossAttention(nn.Module):
    """Attention from one sequence to another, with learned query and value biases."""

    def __init__(self, dim: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(context_dim, 2 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        query = F.linear(x, self.q.weight, self.q_bias)
        bias = torch.cat((torch.zeros_like(self.v_bias), self.v_bias))
        key, value = F.linear(context, self.kv.weight, bias).chunk(2, dim=-1)
        result: Tensor = self.proj(_attend(query, key, value, self.num_heads))
        return result


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class Block(nn.Module):
    """Pre-norm transformer block with stochastic depth.

    Attributes:
        recomputes: Whether activations are computed anew in the backward pass instead of kept.
    """

    recomputes = False

    def __init__(self, dim: int, num_heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = layer_norm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2 = layer_norm(dim)
        self.mlp = FeedForward(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, *inputs: Tensor, first: int = 0) -> Tensor:
        if self.recomputes and torch.is_grad_enabled():
            return checkpoint(self.layers, *inputs, first=first, use_reentrant=False)
        return self.layers(*inputs, first=first)

    def layers(self, x: Tensor, *, first: int = 0) -> Tensor:
        """Tokens ``[B, N, D]`` to ``[B, N - first, D]``: those before `first` are read, but not computed."""
        x = x[:, first:] + self.drop_path(self.attn(self.norm1(x), first))
        result: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return result


class CrossBlock(Block):
    """A block that first attends to a context sequence (paper section 3.3)."""

    def __init__(self, dim: int, context_dim: int, num_heads: int, drop_path: float = 0.0) -> None:
        super().__init__(dim, num_heads, drop_path)
        self.cross_norm1 = layer_norm(dim)
        self.cross_norm2 = layer_norm(context_dim)
        self.cross_attn = CrossAttention(dim, context_dim, num_heads)

    def layers(self, x: Tensor, context: Tensor, *, first: int = 0) -> Tensor:  # type: ignore[override]
        """The same of tokens that read a context ``[B, M, context D]`` first."""
        x = x + self.drop_path(self.cross_attn(self.cross_norm1(x), self.cross_norm2(context)))
        return super().layers(x, first=first)


def checkpoint_blocks(model: nn.Module) -> None:
    """Let every block of a model recompute its activations in the backward pass: less memory, more time."""
    for module in model.modules():
        if isinstance(module, Block):
            module.recomputes = True


def drop_path_rates(last: float, depth: int) -> list[float]:
    """Stochastic depth of each block, growing linearly from 0 to `last`."""
    return [last * index / max(depth - 1, 1) for index in range(depth)]


def init_weights(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for linear layers and patch embeddings, for `nn.Module.apply`."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
        nn.init.xavier_uniform_(module.weight.data.flatten(1))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


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
