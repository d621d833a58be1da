"""Which modality and which layer moved a classifier's outputs, exactly.

The head is linear, and what it reads is a weighted sum of the blocks' pooled tokens behind one norm. With the mean and
deviation that this norm has for a clip, each output is therefore a sum: one term per part of the head's input and
block, and a constant that is the same for all clips.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hicmae_core.inference.attention import Trace, head_input, level_weights
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pooling import Standardise


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
