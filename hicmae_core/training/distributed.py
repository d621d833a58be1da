"""Several processes, one training: ``torchrun -m stages.pretrain`` and the like.

Without torchrun there is one process of rank 0 and every function here is a plain pass-through. In a training they
come in this order: `process_group`, the model, `replicate`, and only then the optimizer, because a sharded model has
other parameters than before.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Literal

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore, Store
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from hicmae_core.devices import device_named
from hicmae_core.model.layers import Block

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
    store = next(distributed.rendezvous("env://", timeout=_TIMEOUT))[0]
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


def replicate(
    objective: nn.Module, model: nn.Module, device: torch.device, parallel: Literal["ddp", "fsdp"]
) -> nn.Module:
    """`objective`, with its gradients averaged over all processes during backward.

    Under ``fsdp`` each process keeps its share of every weight, gradient and optimizer state: the parameters of
    `model` are replaced by sharded ones, block by block. Build the optimizer afterwards, from them.

    Args:
        objective: What is called in training; every trainable parameter must take part each time.
        model: What it trains; also called on its own, for validation, by all processes alike.
        device: Where both are.
        parallel: ``ddp`` or ``fsdp``.
    """
    if world_size() == 1:
        return objective
    if parallel == "ddp":
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(objective, device_ids=devices, gradient_as_bucket_view=True)
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)  # views are returned, never changed in place
    mesh = init_device_mesh(device.type, (world_size(),))
    for module in [*(module for module in model.modules() if isinstance(module, Block)), model]:
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return objective


@contextmanager
def accumulating(replica: nn.Module, is_last: bool) -> Iterator[None]:
    """Run forward and backward of one part of a batch; only the last part's gradients are averaged over processes.

    Args:
        replica: From `replicate`, before it is compiled.
        is_last: Whether an optimizer step follows.
    """
    for module in replica.modules():
        if isinstance(module, FSDPModule):
            module.set_requires_gradient_sync(is_last, recurse=False)
    with replica.no_sync() if isinstance(replica, DistributedDataParallel) and not is_last else nullcontext():
        yield


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The norm of all gradients together, sharded ones included, as a scalar that stays on the device."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return _whole(nn.utils.get_total_norm(gradients))


def full_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers, whole and on the CPU; where they are sharded, every process must ask."""
    return {name: _whole(value.detach()).to("cpu", copy=True) for name, value in model.state_dict().items()}


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


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value
