"""A classifier with its attention in the open: the same weights, but every attention matrix is computed and kept.

`rollout` follows the matrices back from what the head reads to the patches (Abnar and Zuidema, "Quantifying attention
flow in transformers", 2020): a block passes on half of each token and half of what its attention mixes, heads averaged.
It says where information can have come from, not for which class.

The contributions of modalities and layers are exact. The head is linear, and what it reads is a weighted sum of the
blocks' pooled tokens behind one norm. With the mean and std that this norm has for a clip, each output is a sum: one
term per part of the head's input and block, and a constant that is the same for all clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hicmae_core.model.classifier import Classifier, Standardise, pool
from hicmae_core.model.encoder import Encoder
from hicmae_core.model.layers import Attention, Block, CrossAttention, CrossBlock


class FusionMaps(NamedTuple):
    """Attention of one layer of the fusion encoder, heads averaged; V video tokens, An audio tokens."""

    video_cross: Tensor
    """What video tokens read of audio, ``[B, V, A]``."""
    video_self: Tensor
    """``[B, V, V]``."""
    audio_cross: Tensor
    """What audio tokens read of video, ``[B, A, V]``."""
    audio_self: Tensor
    """``[B, A, A]``."""


@dataclass(frozen=True)
class Trace:
    """What happened inside a classifier on its way to its outputs.

    Attributes:
        outputs: ``[B, num_outputs]``, the classifier's own up to rounding.
        parts: What the head reads, in order, before the blocks are weighed: pooled tokens ``[B, L, F]`` of the
            encoder's blocks under ``video`` and ``audio`` (L is 1 where only the last block is read), and ``[B, 1, D]``
            under ``fused video`` and ``fused audio``. One modality alone is its encoder's part alone.
        self_attention: By modality, ``[B, N, N]`` of each block of its encoder, heads averaged.
        fusion: Of each layer of the fusion encoder.
    """

    outputs: Tensor
    parts: dict[str, Tensor]
    self_attention: dict[str, list[Tensor]]
    fusion: list[FusionMaps]


@torch.no_grad()
def trace(model: Classifier, video: Tensor | None, audio: Tensor | None) -> Trace:
    """Run a classifier in eval mode; inputs as for its own `forward`, one of two may be None and zeros in its place.

    Memory holds ``B * (V² + A²)`` numbers per encoder block, times the heads while a block is computed.
    """
    assert not model.training, "drop path would make the trace random"
    shape = model.architecture
    given = video if video is not None else audio
    assert given is not None
    inputs = {
        "video": given.new_zeros(len(given), *shape.video_shape) if video is None else video,
        "audio": given.new_zeros(len(given), *shape.audio_shape) if audio is None else audio,
    }
    parts, maps, last = {}, {}, []
    for name, encoder in encoders(model).items():
        outputs, maps[name] = _encode(encoder, inputs[name])
        read = outputs if model.architecture.fusion == "hierarchical" else outputs[-1:]
        num_steps, counted = model.pooled_over(name, inputs[name])
        pooled = [pool(tokens, num_steps, shape.pooling, counted) for tokens in read]
        parts[name] = torch.stack(pooled, dim=1)
        last.append(outputs[-1])
    fusion = []
    if len(last) == 2:
        fused_video, fused_audio = last
        for block, block_audio in zip(model.encoder_fusion.blocks, model.encoder_fusion.blocks_audio, strict=True):
            assert isinstance(block, CrossBlock)
            assert isinstance(block_audio, CrossBlock)
            new_video, video_cross, video_self = _cross_block(block, fused_video, fused_audio)
            fused_audio, audio_cross, audio_self = _cross_block(block_audio, fused_audio, fused_video)
            fused_video = new_video
            fusion.append(FusionMaps(video_cross, video_self, audio_cross, audio_self))
        parts["fused video"] = model.encoder_fusion.norm(fused_video).mean(dim=1, keepdim=True)
        parts["fused audio"] = model.encoder_fusion.norm_audio(fused_audio).mean(dim=1, keepdim=True)
    outputs_of_head = model.activation(model.head(model.fc_norm(head_input(model, parts))))
    return Trace(outputs_of_head, parts, maps, fusion)


def encoders(model: Classifier) -> dict[str, Encoder]:
    """The encoders that a classifier has, by modality."""
    names = {"video": "encoder", "audio": "encoder_audio"}
    return {name: getattr(model, attribute) for name, attribute in names.items() if hasattr(model, attribute)}


def level_weights(model: Classifier, part: str) -> Tensor:
    """How the blocks of a part of `Trace.parts` are weighed, ``[L]``, adding up to 1: learned for an encoder's part."""
    learned = getattr(model, f"{part}_layer_weights", None)
    return model.head.weight.new_ones(1) if learned is None else learned.detach().softmax(dim=0)


def head_input(model: Classifier, parts: dict[str, Tensor]) -> Tensor:
    """What the last norm is given, ``[B, F]``."""
    weighed = [(level_weights(model, part)[:, None] * levels).sum(dim=1) for part, levels in parts.items()]
    return torch.cat(weighed, dim=-1)


@torch.no_grad()
def rollout(model: Classifier, traced: Trace) -> dict[str, Tensor]:
    """How much of what the head reads comes from each patch, by modality ``[B, *patch grid]``.

    Each part of the head's input counts the same, the blocks within it as the model weighs them. All values of a clip,
    over both modalities, add up to 1.
    """
    share = 1 / len(traced.parts)
    relevance = {}
    for name, maps in traced.self_attention.items():
        batch, num_tokens, _ = maps[0].shape
        relevance[name] = maps[0].new_full((batch, num_tokens), share / num_tokens if traced.fusion else 0.0)
    for layer in reversed(traced.fusion):
        video = _back(relevance["video"], layer.video_self)
        audio = _back(relevance["audio"], layer.audio_self)
        relevance["video"] = (video + _pulled(audio, layer.audio_cross)) / 2
        relevance["audio"] = (audio + _pulled(video, layer.video_cross)) / 2
    for name, maps in traced.self_attention.items():
        reached = relevance[name]
        weights = level_weights(model, name).tolist()
        weights = [0.0] * (len(maps) - len(weights)) + weights
        for attention, weight in zip(reversed(maps), reversed(weights), strict=True):
            reached = _back(reached + share * weight / reached.shape[1], attention)
        relevance[name] = reached.unflatten(1, encoders(model)[name].patch_embed.grid)
    return relevance


def _back(relevance: Tensor, attention: Tensor) -> Tensor:
    """Relevance ``[B, N]`` of a block's outputs as relevance of its inputs."""
    return (relevance + _pulled(relevance, attention)) / 2


def _pulled(relevance: Tensor, attention: Tensor) -> Tensor:
    """Relevance ``[B, N]`` of tokens, handed to what they read by attention ``[B, N, M]``: ``[B, M]``."""
    return (relevance[:, None] @ attention)[:, 0]


def _encode(encoder: Encoder, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The normed output and the attention of every block."""
    tokens = encoder.patch_embed(x)
    outputs, maps = [], []
    for block in encoder.blocks:
        assert isinstance(block, Block)
        tokens, attention = _block(block, tokens)
        outputs.append(encoder.norm(tokens))
        maps.append(attention)
    return outputs, maps


def _block(block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
    mixed, attention = _self_attend(block.attn, block.norm1(x))
    x = x + mixed
    return x + block.mlp(block.norm2(x)), attention


def _cross_block(block: CrossBlock, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mixed, cross = _cross_attend(block.cross_attn, block.cross_norm1(x), block.cross_norm2(context))
    x, attention = _block(block, x + mixed)
    return x, cross, attention


def _self_attend(layer: Attention, x: Tensor) -> tuple[Tensor, Tensor]:
    bias = torch.cat((layer.q_bias, torch.zeros_like(layer.q_bias), layer.v_bias))
    query, key, value = F.linear(x, layer.qkv.weight, bias).chunk(3, dim=-1)
    mixed, attention = _attend(query, key, value, layer.num_heads)
    return layer.proj(mixed), attention


def _cross_attend(layer: CrossAttention, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    query = F.linear(x, layer.q.weight, layer.q_bias)
    bias = torch.cat((torch.zeros_like(layer.v_bias), layer.v_bias))
    key, value = F.linear(context, layer.kv.weight, bias).chunk(2, dim=-1)
    mixed, attention = _attend(query, key, value, layer.num_heads)
    return layer.proj(mixed), attention


def _attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> tuple[Tensor, Tensor]:
    """Mixed values ``[B, N, D]``, and the attention ``[B, N, M]`` averaged over heads."""
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    attention = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    return (attention @ v).transpose(1, 2).flatten(2), attention.mean(dim=1)


@torch.no_grad()
def contributions(model: Classifier, traced: Trace) -> dict[str, Tensor]:
    """Terms of each output before its activation: by part of `Trace.parts`, ``[B, L, num_outputs]``.

    Together with `constant` they add up to the outputs.
    """
    mean, scale = _standardisation(model.fc_norm, head_input(model, traced.parts))
    effect = model.head.weight  # [num_outputs, F]
    if isinstance(model.fc_norm, nn.LayerNorm):
        effect = effect * model.fc_norm.weight
    widths = [levels.shape[-1] for levels in traced.parts.values()]
    cut = (values.split(widths, dim=-1) for values in (mean, scale, effect))
    terms = {}
    for (part, levels), mean_of, scale_of, effect_of in zip(traced.parts.items(), *cut, strict=True):
        by_level = ((levels - mean_of[:, None]) * scale_of[:, None]) @ effect_of.T
        terms[part] = level_weights(model, part)[:, None] * by_level
    return terms


@torch.no_grad()
def constant(model: Classifier) -> Tensor:
    """What every clip's outputs hold, ``[num_outputs]``."""
    if isinstance(model.fc_norm, nn.LayerNorm):
        return model.head.weight @ model.fc_norm.bias + model.head.bias
    return model.head.bias


def _standardisation(norm: nn.LayerNorm | Standardise, joint: Tensor) -> tuple[Tensor, Tensor]:
    """What the last norm subtracts from each number ``[B, F]`` of its input, and by what it multiplies the rest."""
    if isinstance(norm, nn.LayerNorm):
        mean, variance = joint.mean(dim=-1, keepdim=True), joint.var(dim=-1, unbiased=False, keepdim=True)
    else:
        mean, variance = norm.running_mean, norm.running_var
    return mean.expand_as(joint), (variance + norm.eps).rsqrt().expand_as(joint)
