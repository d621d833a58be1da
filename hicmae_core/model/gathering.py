"""Rows of all processes that train together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def rows_of_all_processes(x: Tensor) -> Tensor:
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
