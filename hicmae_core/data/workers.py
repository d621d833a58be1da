"""Batches read by several processes, in order; one that dies is replaced, and no batch is lost or comes twice."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Protocol

import torch

from hicmae_core.data.clips import Batch
from hicmae_core.progress import tell
from hicmae_core.runtime import how_it_ended, init_worker, single_threaded_children

_BATCHES_AHEAD_PER_WORKER = 2
_MAX_DEATHS = 3
_DEATH_SECONDS = 10


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
        ValueError: If three processes have died, one after the other, and no batch came in between.
    """
    if num_workers == 0:
        yield from (batches[number] for number in range(len(batches)))
        return
    workers = [_Worker(batches) for _ in range(min(num_workers, len(batches)))]
    try:
        for number in range(min(_BATCHES_AHEAD_PER_WORKER * len(workers), len(batches))):
            workers[number % len(workers)].ask_for(number)
        for number in range(len(batches)):
            worker = workers[number % len(workers)]
            yield worker.take()
            following = number + _BATCHES_AHEAD_PER_WORKER * len(workers)
            if following < len(batches):
                worker.ask_for(following)
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process, and the numbers of the batches it owes."""

    def __init__(self, batches: NumberedBatches) -> None:
        self._batches = batches
        self._due: deque[int] = deque()
        self._launch()

    def ask_for(self, number: int) -> None:
        """Have it read a batch."""
        self._due.append(number)
        with suppress(OSError):  # it is dead: `take` will see that
            self._connection.send(number)

    def take(self) -> Batch:
        """The batch that it was asked for first."""
        for num_deaths in count(1):
            try:
                result: Batch | Exception = self._connection.recv()
                break
            except (EOFError, OSError):
                self._process.join(_DEATH_SECONDS)
                if self._process.exitcode is None:
                    raise  # it lives: something is wrong in this process, such as too many open files
                self._replace(num_deaths)
        self._due.popleft()
        if isinstance(result, Exception):
            raise result
        return result

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _replace(self, num_deaths: int) -> None:
        end = how_it_ended(self._process.exitcode)
        if num_deaths == _MAX_DEATHS:
            raise ValueError(
                f"{_MAX_DEATHS} processes that read clips have died in a row ({end}); lower compute.num_workers, "
                "or give them more memory, or more shared memory (/dev/shm)"
            )
        tell(f"a process that reads clips has died ({end}); another one goes on in its place")
        self.stop()
        self._launch()
        for number in self._due:
            self._connection.send(number)

    def _launch(self) -> None:
        _ensure_fork_server()
        context = multiprocessing.get_context("forkserver")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._batches), daemon=True)
        with _without_main():
            self._process.start()
        theirs.close()  # the pipe ends with the process


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


def _serve(connection: Connection, batches: NumberedBatches) -> None:
    """What a worker does: batch after batch, until the parent ends."""
    init_worker()
    torch.set_num_threads(1)
    with suppress(EOFError, BrokenPipeError):
        while True:
            answer = _read(batches, connection.recv())
            try:
                connection.send(answer)
            except RuntimeError as error:
                connection.send(_no_room(error))


def _read(batches: NumberedBatches, number: int) -> Batch | Exception:
    try:
        return batches[number]
    except Exception as error:
        error.add_note(f"In a process that reads clips:\n{traceback.format_exc()}")
        return error


def _no_room(error: RuntimeError) -> ValueError:
    return ValueError(
        f"there is no room for a batch in shared memory ({error}); lower compute.num_workers or batch_size, or enlarge "
        "/dev/shm (docker run --shm-size)"
    )


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes started inside this context do not import the program, whose many imports they do not need."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
