"""AdamW as in the published recipes: a schedule per step, weight decay by group, layer-wise decay."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import torch
from torch import nn

REFERENCE_BATCH = 256
"""The global batch at which `base_lr` holds; learning rates scale linearly with the batch."""


def cosine_schedule(base_lr: float, min_lr: float, epochs: int, steps_per_epoch: int, warmup_epochs: int) -> np.ndarray:
    """Learning rate of every step, float64 [epochs * steps_per_epoch].

    Linear from 0 to `base_lr` during the warm-up, both ends included, then half a cosine towards `min_lr`.
    """
    num_warmup = warmup_epochs * steps_per_epoch
    num_decay = epochs * steps_per_epoch - num_warmup
    progress = np.arange(num_decay) / num_decay
    decay = min_lr + 0.5 * (base_lr - min_lr) * (1 + np.cos(math.pi * progress))
    return np.concatenate([np.linspace(0, base_lr, num_warmup), decay])


def adamw(
    model: nn.Module, betas: tuple[float, float], weight_decay: float, layer_decay: float | None = None
) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`; the learning rate comes with each step (`set_learning_rate`)."""
    return torch.optim.AdamW(parameter_groups(model, weight_decay, layer_decay), lr=0.0, betas=betas, fused=True)


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float | None = None) -> list[dict[str, Any]]:
    """Trainable parameters grouped by layer and by whether they decay.

    Args:
        model: A pre-training model or classifier.
        weight_decay: Of matrices; biases, norms, learned scalars and mask tokens have none.
        layer_decay: Factor of the learning rate from each layer to the one below; None treats all alike.

    Returns:
        Groups for a torch optimizer, each with `lr_scale`: its share of the learning rate.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers = layer_ids([name for name, _ in named])
    top = max(layers.values())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in named:
        layer = layers[name] if layer_decay is not None else top
        decays = parameter.ndim > 1 and not name.endswith("bias") and "mask_token" not in name
        scale = 1.0 if layer_decay is None else layer_decay ** (top - layer)
        group = {"params": [], "weight_decay": weight_decay if decays else 0.0, "lr_scale": scale}
        groups.setdefault((layer, decays), group)["params"].append(parameter)
    return list(groups.values())


def layer_ids(names: list[str]) -> dict[str, int]:
    """Depth of each parameter: 0 patch embedding, then encoder blocks, fusion blocks, and the rest on top.

    Both modalities' encoders count side by side; so do both streams of the fusion encoder.
    """
    blocks = {name: int(match[1]) for name in names if (match := re.search(r"\bblocks(?:_\w+)?\.(\d+)\.", name))}
    encoder_depth = 1 + max((index for name, index in blocks.items() if "fusion" not in name), default=-1)
    ids = {name: 1 + index + (encoder_depth if "fusion" in name else 0) for name, index in blocks.items()}
    top = 1 + max(ids.values(), default=0)
    return {name: 0 if "patch_embed" in name else ids.get(name, top) for name in names}


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group its share of `learning_rate`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_scale"]
