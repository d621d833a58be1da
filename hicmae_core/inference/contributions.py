"""Which modality and which layer moved a classifier's outputs, exactly.

The head is linear, and what it reads is a weighted sum of block means behind one LayerNorm. With the mean and deviation
that this LayerNorm has for a clip, each output is therefore a sum: one term per part of the head's input and block,
and a constant that is the same for all clips.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hicmae_core.inference.attention import Trace, head_input, level_weights
from hicmae_core.model.classifier import Classifier


@torch.no_grad()
def contributions(model: Classifier, traced: Trace) -> dict[str, Tensor]:
    """Terms of each output before its activation: by part of `Trace.parts`, ``[B, L, num_outputs]``.

    Together with `constant` they add up to the outputs.
    """
    joint = head_input(model, traced.parts)
    mean = joint.mean(dim=-1)[:, None, None]
    scale = (joint.var(dim=-1, unbiased=False) + model.fc_norm.eps).rsqrt()[:, None, None]
    effect = model.head.weight * model.fc_norm.weight  # [num_outputs, F]
    widths = [levels.shape[-1] for levels in traced.parts.values()]
    terms = {}
    for (part, levels), part_effect in zip(traced.parts.items(), effect.split(widths, dim=1), strict=True):
        by_level = ((levels - mean) * scale) @ part_effect.T
        terms[part] = level_weights(model, part)[:, None] * by_level
    return terms


@torch.no_grad()
def constant(model: Classifier) -> Tensor:
    """What every clip's outputs hold, ``[num_outputs]``."""
    return model.head.weight @ model.fc_norm.bias + model.head.bias
