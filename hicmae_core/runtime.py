"""What every process needs: its device, its threads, its signals, an end with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from hicmae_core.progress import log_line

if TYPE_CHECKING:
    import torch

    from hicmae_core.config import Params

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_HINTS = {signal.SIGKILL: "killed: out of memory?", signal.SIGBUS: "killed by SIGBUS: is /dev/shm full?"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def device_named(name: str) -> torch.device:
    """The device `name` stands for.

    Args:
        name: ``auto`` (CUDA if present), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: If a CUDA device is asked for and there is none.
    """
    import torch  # commands that start no model do without these seconds

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"compute.device is {name}, but no CUDA device is present; use cpu or auto")
    return torch.device(name)


@contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes started inside this context load their libraries with one thread each."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def init_worker() -> None:
    """Make this process a servant: Ctrl-C is for its parent to handle, and it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def how_it_ended(exit_code: int | None) -> str:
    """What a dead process's exit code says, in words."""
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    number = signal.Signals(-exit_code)
    return _HINTS.get(number, f"killed by {number.name}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


class Interrupted(KeyboardInterrupt):
    """A training that was asked to end and has saved its state.

    Attributes:
        signal_number: What asked it to; 0 if another process of this training was asked.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Interruption:
    """Which signal has come so far.

    Attributes:
        signal_number: The first one; 0 without one.
    """

    signal_number = 0


@contextmanager
def noted_signals() -> Iterator[Interruption]:
    """Note the first SIGINT or SIGTERM instead of ending at once; a second one takes its usual effect.

    Outside the main thread, where Python lets nobody handle signals, nothing is noted.
    """
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        noted.signal_number = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    import torch

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
        log_line(f"waiting for a GPU: all {places_per_gpu * len(gpus)} places are taken")
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
