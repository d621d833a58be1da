"""Several processes, one training: ``torchrun -m stages.pretrain`` and the like.

Without torchrun there is one process of rank 0 and every function here is a plain pass-through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hicmae_core.devices import device_named


def rank() -> int:
    """This process's number, from 0; rank 0 alone writes and logs."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def training_device(name: str) -> torch.device:
    """The device `name` stands for.

    Args:
        name: ``auto`` (CUDA if present), ``cpu``, ``cuda`` or ``cuda:N``. Under torchrun ``cuda`` is
            the GPU of the process's local rank.

    Raises:
        ValueError: If a CUDA device is asked for and there is none.
    """
    device = device_named(name)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device == torch.device("cuda") else device


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started: nccl on GPUs, gloo on CPUs."""
    if world_size() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def replicate(model: nn.Module, device: torch.device) -> nn.Module:
    """`model`, with its gradients averaged over all processes during backward."""
    if world_size() == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None, static_graph=True)


def all_reduce_mean(values: torch.Tensor) -> torch.Tensor:
    """The mean of `values` over all processes."""
    if world_size() == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total / world_size()


def wait_for_all() -> None:
    """Return once every process has come here."""
    if world_size() > 1:
        distributed.barrier()


def share(process_batch: int) -> slice:
    """This process's part of a global batch that holds `process_batch` clips of each process."""
    return slice(rank() * process_batch, (rank() + 1) * process_batch)
