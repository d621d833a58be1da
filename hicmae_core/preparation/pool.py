"""The per-clip function on many processes of this machine: a worker that dies or hangs costs only its own clip."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path

from hicmae_core.runtime import how_it_ended, init_worker, single_threaded_children

_CLIPS_AHEAD_PER_PROCESS = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipFiles:
    """One clip to prepare.

    Attributes:
        clip_id: The manifest's clip id.
        video: Its video file, or folder of face frames.
        audio: Its audio file, which may be the same.
        key: Digest of everything that determines the result.
        fps: Frame rate of face frames; None where it is not known yet.
    """

    clip_id: str
    video: Path
    audio: Path
    key: str
    fps: float | None = None


@dataclass(frozen=True)
class ClipFailure:
    """Why a clip has no result: the process that worked on it died, or it took too long.

    Attributes:
        status: ``crashed`` or ``timeout``.
        reason: A sentence.
    """

    status: str
    reason: str


ClipWork = Callable[[ClipFiles], bytes]
"""Prepares one clip, whatever is wrong with its files: the clip's record batch, serialised."""

RunClips = Callable[[ClipWork, Sequence[ClipFiles]], Iterator[bytes | ClipFailure]]
"""Runs a function on every clip, somewhere; results come in the order of the clips."""


def in_processes(num_processes: int = 0, timeout_seconds: float = math.inf) -> RunClips:
    """A runner on processes of this machine, one library thread each.

    Each worker has a pipe of its own and no lock is shared, so one that is killed, at whatever moment, holds up no
    other: pools with shared pipes (pebble, `concurrent.futures`) lose all their clips when that happens in the midst of
    a result. The clip it had is tried once more when no other runs, for it may have run out of memory in company. Few
    clips are in flight at a time, so results do not pile up behind a slow one.

    Args:
        num_processes: Workers; 0 means one per CPU core.
        timeout_seconds: A clip that takes longer is given up.
    """
    return partial(_run, num_processes or len(os.sched_getaffinity(0)), timeout_seconds)


def run_clip(work: ClipWork, clip: ClipFiles) -> bytes | ClipFailure:
    """A clip's result; an error that `work` did not foresee is logged and becomes a failure."""
    try:
        return work(clip)
    except Exception as error:  # one clip in a million must not end the night's run
        _log.exception("clip %s", clip.clip_id)
        return ClipFailure("crashed", f"preparing it failed: {type(error).__name__}: {error}")


def _run(
    num_processes: int, timeout_seconds: float, work: ClipWork, clips: Sequence[ClipFiles]
) -> Iterator[bytes | ClipFailure]:
    processes = ClipProcesses(work, min(num_processes, len(clips)), timeout_seconds)
    try:
        yield from processes.run(clips)
    finally:
        processes.stop()


class ClipProcesses:
    """Processes that run `work` on clips, one batch of clips after the other; `in_processes` tells how."""

    def __init__(self, work: ClipWork, num_processes: int, timeout_seconds: float) -> None:
        self._workers = [_Worker(work, timeout_seconds) for _ in range(num_processes)]

    def run(self, clips: Sequence[ClipFiles]) -> Iterator[bytes | ClipFailure]:
        """Results in the order of `clips`; all of them have to be taken before the next batch."""
        results: dict[int, bytes | ClipFailure] = {}
        suspects: set[int] = set()
        next_index = 0
        for index in range(len(clips)):
            while index not in results:
                idle = [worker for worker in self._workers if worker.index is None]
                if index in suspects:  # again, and alone
                    if len(idle) == len(self._workers):
                        idle[0].start(index, clips[index])
                else:
                    end = min(index + _CLIPS_AHEAD_PER_PROCESS * len(self._workers), len(clips))
                    for worker in idle[: end - next_index]:
                        worker.start(next_index, clips[next_index])
                        next_index += 1
                for done, result in _finished(self._workers):
                    if isinstance(result, ClipFailure) and result.status == "crashed" and done not in suspects:
                        suspects.add(done)
                    else:
                        results[done] = result
            yield results.pop(index)

    def stop(self) -> None:
        """Kill the processes."""
        for worker in self._workers:
            worker.stop()


class _Worker:
    """A process and the clip it works on.

    Attributes:
        connection: Where results arrive.
        index: Number of the clip it works on; None while idle.
        deadline: When that clip will have taken too long, on the monotonic clock.
    """

    def __init__(self, work: ClipWork, timeout_seconds: float) -> None:
        self._work, self._timeout_seconds = work, timeout_seconds
        self.index: int | None = None
        self.deadline = math.inf
        self._launch()

    def start(self, index: int, clip: ClipFiles) -> None:
        """Hand it a clip."""
        self.index, self.deadline = index, time.monotonic() + self._timeout_seconds
        with suppress(OSError):  # it died while idle: `finish` will see that
            self.connection.send(clip)

    def finish(self) -> bytes | ClipFailure:
        """The clip's result, or that the process has died; another is started then."""
        try:
            result: bytes | ClipFailure = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return self._fail("crashed", f"the process that prepared it died, {how_it_ended(self._process.exitcode)}")
        self.index, self.deadline = None, math.inf
        return result

    def give_up(self) -> ClipFailure:
        """End the clip and the process with it; another is started."""
        return self._fail("timeout", f"preparing it took more than {self._timeout_seconds:g} s")

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _fail(self, status: str, reason: str) -> ClipFailure:
        self.stop()
        self.index, self.deadline = None, math.inf
        self._launch()
        return ClipFailure(status, reason)

    def _launch(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        with single_threaded_children():
            self._process.start()
        theirs.close()  # the pipe ends with the process


def _finished(workers: Sequence[_Worker]) -> Iterator[tuple[int, bytes | ClipFailure]]:
    """Wait until a clip has come to an end: the numbers and the results of those that have."""
    patience = min(worker.deadline for worker in workers) - time.monotonic()
    ready = wait([worker.connection for worker in workers if worker.index is not None], max(0, min(patience, 3600)))
    for worker in workers:
        if worker.index is None:
            continue
        index = worker.index
        if worker.connection in ready:
            yield index, worker.finish()
        elif time.monotonic() >= worker.deadline:
            yield index, worker.give_up()


def _serve(connection: Connection, work: ClipWork) -> None:
    """What a worker does: clip after clip, until the parent ends."""
    init_worker()
    with suppress(EOFError, BrokenPipeError):
        while True:
            connection.send(run_clip(work, connection.recv()))
