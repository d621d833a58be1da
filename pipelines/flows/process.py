"""Run a command so that its output streams, its failure is noticed and none of its processes outlives us."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from pipelines.flows import supervisor

_SUPERVISOR = Path(supervisor.__file__)
_NUM_LAST_LINES = 30
_PROGRESS_EVERY_SECONDS = 10.0


class CommandFailed(RuntimeError):
    """A command's exit code was not 0."""

    def __init__(self, command: Sequence[str], exit_code: int, last_lines: Sequence[str]) -> None:
        self.command = shlex.join(command)
        self.exit_code = exit_code
        self.last_lines = list(last_lines)
        super().__init__("\n".join([f"exit code {exit_code} from: {self.command}", *self.last_lines]))


class Processes:
    """The commands that are running, so that all of them can be ended at once."""

    def __init__(self, grace_seconds: float = 7.0) -> None:
        """Give a command `grace_seconds` after Ctrl-C, in which a training saves its step, before more force.

        With the default nothing lives longer than 10 s.
        """
        self._grace_seconds = grace_seconds
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, command: Sequence[str], on_line: Callable[[str], None], cwd: Path) -> None:
        """Run `command` and hand each line of its output to `on_line`; may be called from many threads.

        To the command, ``python`` is our own interpreter, whether its environment is activated or not.

        Raises:
            CommandFailed: With the last lines, for an exit code other than 0.
        """
        supervised = [sys.executable, "-I", str(_SUPERVISOR), str(self._grace_seconds), *command]
        process = self._start(supervised, cwd)
        last_lines: deque[str] = deque(maxlen=_NUM_LAST_LINES)
        assert process.stdout is not None
        try:
            for line in _lines(process.stdout):
                last_lines.append(line)
                on_line(line)
            exit_code = process.wait()
        finally:
            self._end([process])
            process.stdout.close()
            with self._lock:
                self._running.discard(process)
        if exit_code != 0:
            raise CommandFailed(command, exit_code, last_lines)

    def end_all(self) -> None:
        """End every running command; later ones do not start."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        self._end(running)

    def _start(self, command: Sequence[str], cwd: Path) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise CommandFailed(command, 130, ["interrupted before it started"])
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the commands in order
            )
            self._running.add(process)
            return process

    def _end(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()  # see supervisor.py
        for process in processes:
            process.wait()


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; of a progress bar, which rewrites its line, one state every few seconds."""
    pending = b""
    next_progress = time.monotonic() + _PROGRESS_EVERY_SECONDS
    while chunk := stream.read1():  # type: ignore[attr-defined]
        *lines, pending = (pending + chunk).replace(b"\r\n", b"\n").split(b"\n")
        yield from (_last_state(line) for line in lines if line.strip())
        if b"\r" in pending and time.monotonic() >= next_progress:
            next_progress = time.monotonic() + _PROGRESS_EVERY_SECONDS
            yield _last_state(pending)
            pending = b""
    if pending.strip():
        yield _last_state(pending)


def _last_state(line: bytes) -> str:
    states = [state for state in line.split(b"\r") if state.strip()]
    return states[-1].decode("utf-8", errors="replace").rstrip() if states else ""
