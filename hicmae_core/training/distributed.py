"""Several processes, one training: ``torchrun -m stages.pretrain`` and the like.

Without torchrun there is one process of rank 0 and every function here is a plain pass-through. In a training they
come in this order: `process_group`, the model, `wrap_ddp`, the optimizer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore, Store
from torch.nn.parallel import DistributedDataParallel

from hicmae_core.runtime import device_named

_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it gives up."""


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
        ValueError: If a CUDA device is asked for and there is none, or several processes are to share one.
    """
    device = device_named(name)
    if world_size() > 1 and device.index is not None:
        raise ValueError(f"compute.device {name} is one GPU for {world_size()} processes; under torchrun use cuda")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device == torch.device("cuda") else device


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started: nccl between GPUs, gloo between CPUs. Within another, stay in that.

    Raises:
        ValueError: If torchrun, set to start workers again on several machines, would let them meet dead ones.
    """
    if world_size() == 1 or distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        timeout=_TIMEOUT,
        store=_meeting_place(),
        rank=rank(),
        world_size=world_size(),
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _meeting_place() -> Store:
    """Where processes find each other.

    torchrun keeps one store for all its starts, in which the addresses of dead workers stay behind, unless it is told
    otherwise. On one machine each start has a number; over several, each machine counts its own.
    """
    store: Store = next(distributed.rendezvous("env://", timeout=_TIMEOUT))[0]
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        return PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    if os.environ["TORCHELASTIC_MAX_RESTARTS"] != "0":
        raise ValueError(
            "with --max-restarts on several machines, set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment of "
            "each torchrun: otherwise workers that are started again look for dead ones, and wait"
        )
    return store


def share(process_batch: int) -> slice:
    """This process's part of a global batch that holds `process_batch` clips of each process."""
    return slice(rank() * process_batch, (rank() + 1) * process_batch)


def check_divides(batch_size: int, accumulation_steps: int) -> None:
    """Refuse a global batch that cannot be cut into equal parts.

    Raises:
        ValueError: If the processes times `accumulation_steps` do not divide `batch_size`.
    """
    num_parts = world_size() * accumulation_steps
    if batch_size % num_parts:
        nearest = max(1, round(batch_size / num_parts)) * num_parts
        raise ValueError(
            f"batch_size {batch_size} is the global batch and cannot be cut into {num_parts} equal parts "
            f"({world_size()} processes x accumulation_steps {accumulation_steps}); {nearest} can"
        )


def check_same_step(step: int) -> None:
    """Refuse processes that have read different checkpoints.

    Raises:
        ValueError: If `step`, from which this process goes on, is another one elsewhere.
    """
    if world_size() == 1:
        return
    steps = torch.tensor([step, -step])
    distributed.all_reduce(steps, distributed.ReduceOp.MAX)
    last, first = steps[0].item(), -steps[1].item()
    if first != last:
        raise ValueError(
            f"some processes would go on after step {last}, others after step {first}: the folder of checkpoints must "
            "be one that all machines share"
        )


def wrap_ddp(objective: nn.Module, device: torch.device) -> nn.Module:
    """`objective`, with its gradients averaged over all processes during backward.

    Args:
        objective: What is called in training, on `device`; every trainable parameter must take part each time.
        device: Where it is.
    """
    if world_size() == 1:
        return objective
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(objective, device_ids=devices, gradient_as_bucket_view=True)


@contextmanager
def accumulating(objective: nn.Module, is_last: bool) -> Iterator[None]:
    """Run forward and backward of one micro-batch; only the last one's gradients are averaged over processes.

    Args:
        objective: From `wrap_ddp`, before it is compiled.
        is_last: Whether an optimizer step follows.
    """
    with objective.no_sync() if isinstance(objective, DistributedDataParallel) and not is_last else nullcontext():
        yield


def all_reduce_mean(values: Tensor) -> Tensor:
    """The mean of `values` over all processes."""
    return all_reduce_sum(values) / world_size()


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum of `values` over all processes."""
    if world_size() == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in some process: the same answer in all, without waiting for their GPUs."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags)


def wait_for_all() -> None:
    """Return once every process has come here."""
    if world_size() > 1:
        distributed.barrier()
