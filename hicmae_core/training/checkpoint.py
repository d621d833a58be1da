"""Checkpoints from which a killed training resumes."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hicmae_core.files import remove_leftovers
from hicmae_core.progress import tell
from hicmae_core.training import distributed
from hicmae_core.training.best_weights import Best, BestWeights
from hicmae_core.training.digested import NUM_DIGITS, read_digested, to_host, write_digested

_LIBRARY = Path(__file__).resolve().parent.parent
TRAINING_CODE = [_LIBRARY / room for room in ("data", "model", "training")]
"""The code that determines what a training computes, for `files.fingerprint`."""
FOLDERS = "[0-9]*-" + NUM_DIGITS * "[0-9a-f]"
"""Names of checkpoints that several processes share (`ShardedCheckpointStore`)."""
FILES = f"{FOLDERS}.pt"
"""Names of the other checkpoints."""


def library_versions() -> dict[str, str]:
    """What rounding depends on, beside our code, which names the folder."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


class CheckpointStore:
    """The newest checkpoints of one run and its best weights, in a folder of their own.

    A checkpoint is called ``<step>-<digest>.pt``: a damaged one is noticed, and the one before it is used.
    """

    def __init__(self, folder: Path, num_kept: int = 2, about: Mapping[str, str] | None = None) -> None:
        """Open a folder, which need not exist.

        Args:
            folder: Nobody else's.
            num_kept: Newest checkpoints to keep.
            about: What is told on resuming if it has changed since, beside the libraries' versions.
        """
        self.folder = folder
        self.num_kept = num_kept
        self.about = library_versions() | dict(about or {})
        self._best = BestWeights(folder)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._newest_write: Future[bool] | None = None

    def save(self, state: Mapping[str, Any], step: int, wait: bool = False) -> None:
        """Keep `state` as the checkpoint after `step`.

        It is copied at once, and written while the training goes on; one write at a time. A write that fails, such as
        on a full disk, is told, and the checkpoints before it are kept.

        Args:
            state: Tensors and plain values, in dicts, lists and tuples.
            step: Optimizer steps done.
            wait: Return when it is written.
        """
        self.wait()
        content = to_host({"about": self.about, "state": state})
        self._newest_write = self._writer.submit(self._write, content, step, self._best.newest)
        if wait:
            self.wait()

    def wait(self) -> bool:
        """Return once nothing is being written, and whether the newest write succeeded."""
        return self._newest_write is None or self._newest_write.result()

    def latest(self, template: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The newest undamaged state, on the CPU; None without one.

        Args:
            template: A state of the kind that is sought, for stores that need one; this one does not.
        """
        for path in reversed(self._checkpoints()):
            content = read_digested(path)
            if content is not None:
                self._tell_changes(content["about"], path)
                return content["state"]
            self._tell_damaged(path)
        self._tell_others(FOLDERS, "fsdp")
        return None

    def save_best(self, weights: Mapping[str, Tensor], epoch: int) -> None:
        """Keep the weights of `epoch` (from 0) as the best so far; they are written with the next checkpoint."""
        self._best.keep(weights, epoch)

    def best(self, epoch: int) -> dict[str, Tensor]:
        """The weights given to `save_best` for `epoch`, on the CPU.

        Raises:
            ValueError: If they are damaged, or another epoch's were best.
        """
        return self._best.read(epoch)

    def clear(self) -> None:
        """Delete the folder; the checkpoints before the best weights, without which they could not be used."""
        self.wait()
        for path in self._checkpoints():
            self._delete(path)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, content: dict[str, Any], step: int, best: Best | None) -> bool:
        try:
            remove_leftovers(self.folder)
            self._best.write(best, step)
            written = write_digested(content, self.folder, f"{step:08d}")
            self._prune(written)
        except OSError as error:
            self._tell_unwritten(step, error)
            return False
        return True

    def _prune(self, written: Path) -> None:
        """Keep the newest; a step after the one just written is of a damaged checkpoint that was passed over."""
        before = [path for path in self._checkpoints() if _step(path) < _step(written)]
        kept = [*before, written][-self.num_kept :]
        for path in self._checkpoints():
            if path not in kept:
                self._delete(path)
        self._best.prune([_step(path) for path in kept])

    def _checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob(FILES))

    def _delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def _tell_damaged(self, path: Path) -> None:
        _tell(f"{path} is damaged and passed over; the checkpoint before it is used, if there is one")

    def _tell_others(self, pattern: str, parallel: str) -> None:
        if any(self.folder.glob(pattern)):
            _tell(
                f"{self.folder} holds checkpoints of `compute.parallel: {parallel}`, which this training cannot read: "
                "it starts afresh; set that again to go on from them"
            )

    def _tell_unwritten(self, step: int, error: OSError) -> None:
        _tell(
            f"the checkpoint after step {step} could not be written to {self.folder} ({error}): free space or mend the "
            "disk; the training goes on, and the checkpoint before it is kept"
        )

    def _tell_changes(self, about: Mapping[str, str], path: Path) -> None:
        changes = [
            f"{name} {about.get(name, 'unknown')} then, {value} now"
            for name, value in self.about.items()
            if about.get(name) != value
        ]
        if changes:
            _tell(f"{path}: {', '.join(changes)}; what is trained on from it may differ in its last digits")


def _step(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _tell(text: str) -> None:
    if distributed.rank() == 0:
        tell(text)
