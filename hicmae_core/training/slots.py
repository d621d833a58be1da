"""Places on the GPUs of this machine, so that folds trained in parallel share them and none gets too many."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from hicmae_core.config import Params
from hicmae_core.progress import tell
from hicmae_core.runtime import device_named

POLL_SECONDS = 1.0


@contextmanager
def acquire_gpu_slot(params: Params) -> Iterator[Params]:
    """Parameters whose device is a GPU with a free place, held until the block ends; they wait for one.

    There are `compute.trainings_per_gpu` places on each GPU that the process sees; the emptiest one is taken. On a CPU,
    and under torchrun, whose processes have a GPU each, the parameters stay as they are.
    """
    device = device_named(params.compute.device)
    if device.type != "cuda" or "WORLD_SIZE" in os.environ:
        yield params
        return
    indices = range(torch.cuda.device_count()) if device.index is None else [device.index]
    gpus = {str(torch.cuda.get_device_properties(index).uuid): f"cuda:{index}" for index in indices}
    folder = Path(tempfile.gettempdir()) / f"hicmae-gpu-places-{os.getuid()}"
    with place(gpus, params.compute.trainings_per_gpu, folder) as name:
        yield params.model_copy(update={"compute": params.compute.model_copy(update={"device": name})})


@contextmanager
def place(gpus: Mapping[str, str], places_per_gpu: int, folder: Path) -> Iterator[str]:
    """Wait for one of the places on some GPUs, and hold it.

    A place is a locked file. The kernel unlocks it when its process ends, however that happens.

    Args:
        gpus: Our names of the GPUs by what names them in all processes.
        places_per_gpu: Places on each.
        folder: Where all processes that share the GPUs look.

    Yields:
        Our name of the GPU.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    taken = _take(gpus, places_per_gpu, folder)
    if taken is None:
        tell(f"waiting for a GPU: all {places_per_gpu * len(gpus)} places are taken")
    while taken is None:
        time.sleep(POLL_SECONDS)
        taken = _take(gpus, places_per_gpu, folder)
    gpu, lock = taken
    try:
        yield gpu
    finally:
        lock.release()


def _take(gpus: Mapping[str, str], places_per_gpu: int, folder: Path) -> tuple[str, FileLock] | None:
    """The GPU with the most free places and the lock of one of them, held; None if there are none."""
    with FileLock(folder / "choosing.lock"):
        free: dict[str, list[FileLock]] = {gpu: [] for gpu in gpus}
        for gpu in gpus:
            for number in range(places_per_gpu):
                lock = FileLock(folder / f"{gpu}-{number}.lock")
                with suppress(Timeout):
                    lock.acquire(blocking=False)
                    free[gpu].append(lock)
        emptiest = max(free, key=lambda gpu: len(free[gpu]))
        taken = free[emptiest].pop() if free[emptiest] else None
        for lock in chain(*free.values()):
            lock.release()
    return (gpus[emptiest], taken) if taken else None
