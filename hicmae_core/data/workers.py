"""Batches read by torch's DataLoader, in order; when a process dies, no batch is lost or comes twice."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hicmae_core.data.clips import Batch
from hicmae_core.progress import log_line
from hicmae_core.runtime import init_worker, single_threaded_children

_MAX_DEATHS = 3


class NumberedBatches(Protocol):
    """Batches by number, each the same whichever process reads it, and when."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Batch: ...


def read_in_order(batches: NumberedBatches, num_workers: int) -> Iterator[Batch]:
    """All batches, from the first to the last.

    Processes come from a fork server, a small one that holds no locks, files or device of the training. Batches come
    back through shared memory.

    Args:
        batches: What is read; it is pickled.
        num_workers: Processes that read, one thread each; 0 reads in this one.

    Raises:
        ValueError: If processes have died three times, and no batch came in between.
    """
    if num_workers == 0:
        yield from (batches[number] for number in range(len(batches)))
        return
    num_read, num_deaths = 0, 0
    loaded = _loaded(batches, range(len(batches)), num_workers)
    try:
        while num_read < len(batches):
            try:
                result = next(loaded)
            except (RuntimeError, OSError, EOFError) as error:  # DataLoader's, when a process died
                num_deaths += 1
                if num_deaths == _MAX_DEATHS:
                    raise ValueError(
                        f"processes that read clips have died {_MAX_DEATHS} times in a row ({error!r}); lower "
                        "compute.num_workers, or give them more memory, or more shared memory (/dev/shm)"
                    ) from error
                log_line(f"a process that reads clips has died ({error!r}); others go on in its place")
                loaded = _loaded(batches, range(num_read, len(batches)), num_workers)
                continue
            if isinstance(result, Exception):
                raise result
            yield result
            num_read, num_deaths = num_read + 1, 0
    finally:
        loaded.close()  # ends the processes, though an error's traceback may hold on to it


@dataclass(frozen=True)
class _Batches(Dataset[Batch | Exception]):
    """Errors come as values: DataLoader would make others of them, with a traceback for a message."""

    batches: NumberedBatches

    def __getitem__(self, number: int) -> Batch | Exception:
        try:
            batch = self.batches[number]
        except Exception as error:
            error.add_note(f"In a process that reads clips:\n{traceback.format_exc()}")
            return error
        try:
            for value in batch:
                if isinstance(value, Tensor):
                    value.share_memory_()
        except RuntimeError as error:  # later, in DataLoader's queue, it would be lost
            return ValueError(
                f"there is no room for a batch in shared memory ({error}); lower compute.num_workers or batch_size, or "
                "enlarge /dev/shm (docker run --shm-size)"
            )
        return batch


def _loaded(batches: NumberedBatches, numbers: range, num_workers: int) -> Generator[Batch | Exception]:
    loader = DataLoader(
        _Batches(batches),
        batch_size=None,
        sampler=numbers,
        num_workers=min(num_workers, len(numbers)),
        collate_fn=_as_it_is,
        worker_init_fn=_init,
        multiprocessing_context="forkserver",
        generator=torch.Generator(),  # the training's own randomness stays as it is
    )
    _ensure_fork_server()
    with _without_main():
        loaded = iter(loader)
    yield from loaded


def _as_it_is(batch: Any) -> Any:
    return batch


def _init(worker: int) -> None:
    init_worker()


def _ensure_fork_server() -> None:
    """Start the server that forks workers, unless it runs: deaf to signals that all processes of a job are sent."""
    forkserver.set_forkserver_preload([__name__])
    resource_tracker.ensure_running()  # the server would start it, and unblock the signals with it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with single_threaded_children():
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes started inside this context do not import the program, whose many imports they do not need."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
