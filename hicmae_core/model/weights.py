"""Copying weights into a model, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def load_weights(model: nn.Module, state_dict: Mapping[str, Tensor], complaint: str) -> None:
    """Copy `state_dict` into `model`, whose keys and shapes it must have exactly.

    Args:
        model: The model to fill; left as it is on error.
        state_dict: Floating-point tensors by parameter name.
        complaint: How the error begins, such as which file does not fit.

    Raises:
        ValueError: Naming every missing, unexpected and mis-shaped key.
    """
    expected = model.state_dict()
    problems = [f"missing {key} {list(value.shape)}" for key, value in expected.items() if key not in state_dict]
    problems += [f"unexpected {key}" for key in state_dict if key not in expected]
    for key, value in expected.items():
        if key not in state_dict:
            continue
        given = state_dict[key]
        if not isinstance(given, Tensor) or not given.is_floating_point():
            problems.append(f"{key} is no floating-point tensor")
        elif given.shape != value.shape:
            problems.append(f"{key} has shape {list(given.shape)} instead of {list(value.shape)}")
    if problems:
        raise ValueError(f"{complaint}:\n  " + "\n  ".join(problems))
    with torch.no_grad():
        for key, value in expected.items():
            value.copy_(state_dict[key])
