"""What is left for its user when a loss or a gradient is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from hicmae_core.data.clips import Batch
from hicmae_core.files import atomic_path


@torch.no_grad()
def refuse(
    step: int,
    parts: list[Batch],
    inputs_of: Callable[[Batch, int, int], tuple[Tensor, ...]],
    objective: nn.Module,
    path: Path,
) -> NoReturn:
    """Save what a step was computed from, and end the training.

    Args:
        step: The optimizer step, from 0; it has not been taken.
        parts: Its clips, on the device.
        inputs_of: As in `loop.Task`.
        objective: Likewise.
        path: Gets `step`, `objective` (its weights), and `parts`: for each its `clip_ids`, the objective's `inputs`
            and its `losses`, computed once more in full precision.

    Raises:
        ValueError: Always, naming the step, the losses, the clips and the file.
    """
    saved: list[dict[str, Any]] = []
    for part, clips in enumerate(parts):
        inputs = inputs_of(clips, step, part)
        losses = {name: loss.item() for name, loss in objective(*inputs).items()}
        saved.append({"clip_ids": clips.clip_ids, "inputs": inputs, "losses": losses})
    with atomic_path(path) as temporary:
        torch.save({"step": step, "objective": objective.state_dict(), "parts": saved}, temporary)
    worst = [part for part in saved if not all(map(math.isfinite, part["losses"].values()))] or saved
    values = ", ".join(f"{name} {value:g}" for name, value in worst[0]["losses"].items())
    clip_ids = ", ".join(clip_id for part in worst for clip_id in part["clip_ids"])
    raise ValueError(
        f"a loss or gradient is not finite at step {step} ({values}) on the clips {clip_ids}; no step was taken on "
        f"them, and {path} holds inputs and weights. Look at these clips, lower base_lr, set clip_grad or raise "
        "precision, or set on_nonfinite: skip; then run again"
    )
