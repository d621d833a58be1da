"""What waits to be sent to MLflow: on disk before it counts as logged, in order, until all of it has arrived."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from filelock import FileLock

from hicmae_core.progress import log_line

Entry = dict[str, Any]
"""Plain values. Its `kind` is ``metrics`` (with `points`: name, step, value, milliseconds since 1970; and
`keep_first`), ``artifact`` (with `path`, from its folder, and `folder`), ``image`` (with `path` and `time_ms`),
``text`` (with `name` and `text`), ``tags`` (with `tags`) or ``end`` (with `how`)."""

MAX_POINTS = 1000
"""What MLflow takes at once."""
_QUEUE = "queue.jsonl"
_LOCK = "lock"
_STORE = "store.txt"
_FILES = "files"


class Outbox:
    """The entries of one run, in a folder of their own that only one process holds at a time.

    A process that is killed after `append` loses nothing: the next one that opens the folder finds the entries
    again. It may find some that had arrived as well, for the queue is emptied when all of it has; sending an entry
    twice must therefore do no harm.

    Args:
        folder: Made if it is not there; deleted by `close` when nothing waits.
        store: Which store the entries are for, as `MlflowStore.name_in` says.
        patience_seconds: How long to wait for another process that holds the folder.

    Raises:
        filelock.Timeout: If another process still holds the folder.
    """

    def __init__(self, folder: Path, store: str, patience_seconds: float = 0.0) -> None:
        self._lock = _hold(folder, patience_seconds)
        self.folder = folder
        self.queue = folder / _QUEUE
        self._guard = Lock()
        self._is_told = False
        self._is_closed = False
        (folder / _STORE).write_text(store, encoding="utf-8")
        lines = self.queue.read_bytes().splitlines(keepends=True) if self.queue.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]  # a kill may have torn the last one
        self._waiting = deque(json.loads(line) for line in whole)
        self._size = sum(map(len, whole))
        self._file = os.open(self.queue, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.ftruncate(self._file, self._size)

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, entry: Entry) -> None:
        """Let an entry wait behind the others; it costs one write. On a full disk it waits in memory."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._guard:
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._size += len(line)
            except OSError as error:
                os.ftruncate(self._file, self._size)
                self._report_once(
                    f"{self.queue} cannot be written ({error.strerror}): what MLflow does not have yet is"
                )
            self._waiting.append(entry)

    def keep_file(self, path: Path) -> str:
        """A lasting path to a file's present content, which may be replaced while it waits.

        It is a second name of the same file, which costs nothing; on another file system it is `path` itself.
        Relative to `folder`, which may be moved with the project.
        """
        kept = self.folder / _FILES / str(time.time_ns()) / path.name
        try:
            kept.parent.mkdir(parents=True)
            os.link(path, kept)
        except OSError:
            kept = path
        return os.path.relpath(kept.resolve(), self.folder.resolve())

    def next_batch(self) -> list[Entry]:
        """The first entries: metrics up to what MLflow takes at once, or one of another kind."""
        batch: list[Entry] = []
        num_points = 0
        with self._guard:
            for entry in self._waiting:
                num_points += len(entry.get("points", ()))
                if batch and (entry["kind"] != "metrics" or num_points > MAX_POINTS):
                    break
                batch.append(entry)
                if entry["kind"] != "metrics":
                    break
        return batch

    def drop(self, num_entries: int) -> None:
        """Forget the first entries: they have arrived. After `close` they stay, to be sent once more."""
        with self._guard:
            if self._is_closed:
                return
            for _ in range(num_entries):
                self._waiting.popleft()
            if not self._waiting:
                os.ftruncate(self._file, 0)
                self._size = 0
                shutil.rmtree(self.folder / _FILES, ignore_errors=True)

    def num_megabytes(self) -> float:
        """Size of the files that wait."""
        with self._guard:
            return sum(path.stat().st_size for path in (self.folder / _FILES).rglob("*") if path.is_file()) / 1e6

    def close(self) -> None:
        """Let go of the folder; it is deleted if nothing waits."""
        with self._guard:
            if not self._waiting:
                shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._file)
            self._lock.release()
            self._is_closed = True

    def _report_once(self, what: str) -> None:
        if not self._is_told:
            log_line(f"{what} in memory only; free some space")
            self._is_told = True


def parts_of(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries in two halves; those of a single one that has several points or tags; nothing if it is one item."""
    if len(entries) > 1:
        middle = len(entries) // 2
        return [[*entries[:middle]], [*entries[middle:]]]
    (entry,) = entries
    points, tags = entry.get("points", []), [*entry.get("tags", {}).items()]
    if len(points) > 1:
        middle = len(points) // 2
        return [[{**entry, "points": half}] for half in (points[:middle], points[middle:])]
    return [[{**entry, "tags": {name: value}}] for name, value in tags] if len(tags) > 1 else []


def item_of(entry: Entry) -> str:
    """What a single item is called, for messages."""
    match entry["kind"]:
        case "metrics":
            return f"metric {entry['points'][0][0]!r}"
        case "tags":
            return f"tag {next(iter(entry['tags']))!r}"
        case "artifact" | "image":
            return f"file {Path(entry['path']).name!r}"
        case "text":
            return f"text {entry['name']!r}"
    return "the end of the run"


def waiting_folders(parent: Path) -> list[tuple[Path, str]]:
    """The folders in which something waits, oldest first, and which store each is for."""
    found = []
    for queue in parent.glob(f"*/{_QUEUE}"):
        try:
            if queue.stat().st_size > 0:
                store = (queue.parent / _STORE).read_text(encoding="utf-8")
                found.append((queue.stat().st_mtime, queue.parent, store))
        except FileNotFoundError:  # all has arrived just now, and its process has deleted the folder
            continue
    return [(folder, store) for _, folder, store in sorted(found)]


def _hold(folder: Path, patience_seconds: float) -> FileLock:
    """The folder's lock, held. The kernel frees it when its holder ends, however that happens."""
    lock = FileLock(folder / _LOCK, timeout=patience_seconds)
    while not lock.is_locked:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # its last holder has just deleted the folder
            lock.acquire()
    return lock
