"""A model in a process of its own, which a bad file can crash or hold up without harm to the server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from hicmae.cli.reader import Require, open_reader
from hicmae.web.page import pictures, played_as
from hicmae.web.record import explained
from hicmae_core.inference.video import VideoReader
from hicmae_core.preparation.pool import ClipFailure, ClipFiles, ClipProcesses


@dataclass(frozen=True)
class _Work:
    """What the process does with a file; it opens the model for the first one."""

    model: str
    max_seconds: float
    require: Require

    def __call__(self, file: ClipFiles) -> bytes:
        try:
            reader = _opened(self.model, self.require)
        except ValueError as error:
            return json.dumps(_failed("no_model", str(error))).encode()
        record = explained(reader, file.video, self.max_seconds)
        if record.get("picture") and not played_as(file.video):
            record["pictures"] = pictures(file.video)
        return json.dumps(record, allow_nan=False).encode()


class ModelProcess:
    """Predictions one file after the other.

    Args:
        model: The model's file.
        max_seconds: Longer videos are refused.
        timeout_seconds: A file that takes longer is given up, and the process with it.
        require: What a file must have.

    Raises:
        ValueError: If the file is not a model.
    """

    def __init__(self, model: Path, max_seconds: float, timeout_seconds: float, require: Require = Require.ANY) -> None:
        self._timeout_seconds = timeout_seconds
        self._lock = Lock()
        self._processes = ClipProcesses(_Work(str(model), max_seconds, require), 1, timeout_seconds)
        opened = self.ask(Path("no such file"))  # so that the model is open when the first one comes
        if opened["status"] != "missing":
            self.close()
            raise ValueError(opened["reason"])

    def ask(self, path: Path) -> dict[str, Any]:
        """`record.explained` of a file; ``timeout`` or ``crashed`` are statuses too."""
        with self._lock:
            (found,) = self._processes.run([ClipFiles("", path, path, "")])
        if not isinstance(found, ClipFailure):
            record: dict[str, Any] = json.loads(found)
            return record
        if found.status == "timeout":
            return _failed(
                "timeout", f"processing {path} took more than {self._timeout_seconds:g} s; try a shorter video"
            )
        return _failed(found.status, f"{path}: {found.reason}")

    def close(self) -> None:
        """End the process."""
        self._processes.stop()


@cache
def _opened(model: str, require: Require) -> VideoReader:
    return open_reader(model, require)


def _failed(status: str, reason: str) -> dict[str, Any]:
    return {"status": status, "reason": reason, "whole": []}
