"""What processes that work on clips for another one share: one thread each, no orphans, no silent deaths."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_HINTS = {signal.SIGKILL: "killed: out of memory?", signal.SIGBUS: "killed by SIGBUS: is /dev/shm full?"}


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


def serve_parent() -> None:
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
