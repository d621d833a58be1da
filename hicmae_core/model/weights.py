"""Copying weights into a model, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hicmae_core.model.weights_file import MAX_NAMES, some


def load_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], complaint: str, max_names: int | None = MAX_NAMES
) -> None:
    """Copy `state_dict` into `model`, whose keys and shapes it must have exactly.

    Args:
        model: The model to fill; left as it is on error.
        state_dict: Floating-point tensors of any precision by parameter name.
        complaint: How the error begins, such as which file does not fit.
        max_names: How many keys an error names; None is all.

    Raises:
        ValueError: In one sentence, naming the keys whose tensors are of another shape or kind, hold NaN or
            infinity, are missing or unexpected.
    """
    expected = model.state_dict()
    shared = [key for key in expected if key in state_dict]
    problems = [problem for key in shared if (problem := _problem(key, state_dict[key], expected[key]))]
    problems += [f"missing {key} {list(value.shape)}" for key, value in expected.items() if key not in state_dict]
    problems += [f"unexpected {key}" for key in state_dict if key not in expected]
    if problems:
        raise ValueError(f"{complaint}: {some(problems, max_names)}")
    with torch.no_grad():
        for key, value in expected.items():
            value.copy_(state_dict[key])


def _problem(key: str, given: object, expected: Tensor) -> str | None:
    """What is wrong with a tensor that should replace `expected`; None if nothing is."""
    if not isinstance(given, Tensor) or not given.is_floating_point():
        return f"{key} is no floating-point tensor"
    if given.layout != torch.strided or given.is_meta:
        return f"{key} is a sparse tensor or one without values"
    if given.shape != expected.shape:
        return f"{key} has shape {list(given.shape)} instead of {list(expected.shape)}"
    num_bad = given.numel() - int(given.to(expected.dtype).isfinite().sum())
    return f"{key} holds NaN or infinity in {num_bad:,} of {given.numel():,} values" if num_bad else None
