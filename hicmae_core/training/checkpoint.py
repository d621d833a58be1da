"""Checkpoints from which a killed training resumes, and the weights of the best epoch."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hicmae_core.files import remove_leftovers
from hicmae_core.progress import log_line
from hicmae_core.training import distributed
from hicmae_core.training.digested import NUM_DIGITS, read_digested, to_host, write_digested

_FILES = f"[0-9]*-{NUM_DIGITS * '[0-9a-f]'}.pt"
"""Names of checkpoints."""

Best = tuple[int, dict[str, Tensor]]
"""An epoch, from 0, and its weights on the CPU."""


def library_versions() -> dict[str, str]:
    """What rounding depends on, beside our code, which names the folder."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


class CheckpointStore:
    """The newest checkpoints of one run and its best weights, in a folder of their own.

    A checkpoint is called ``<step>-<digest>.pt``: a damaged one is noticed, and the one before it is used.
    """

    def __init__(self, folder: Path, num_kept: int = 2) -> None:
        """Open a folder, which need not exist.

        Args:
            folder: Used by this run alone. Its name is kept in each checkpoint: on resuming from a checkpoint of
                another folder, or written with other versions of the libraries, the change is reported.
            num_kept: Newest checkpoints to keep.
        """
        self.folder = folder
        self.num_kept = num_kept
        self.about = library_versions() | {"run": folder.name}
        self._best = BestWeights(folder)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._newest_write: Future[bool] | None = None

    def save(self, state: Mapping[str, Any], step: int, wait: bool = False) -> None:
        """Keep `state` as the checkpoint after `step`.

        It is copied at once, and written while the training goes on; one write at a time. A write that fails, such as
        on a full disk, is logged, and the checkpoints before it are kept.

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

    def latest(self) -> dict[str, Any] | None:
        """The newest undamaged state, on the CPU; None without one."""
        for path in reversed(self._checkpoints()):
            content = read_digested(path)
            if content is not None:
                self._report_changes(content["about"], path)
                result: dict[str, Any] | None = content["state"]
                return result
            _log_line(f"{path} is damaged and passed over; the checkpoint before it is used, if there is one")
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
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, content: dict[str, Any], step: int, best: Best | None) -> bool:
        try:
            remove_leftovers(self.folder)
            self._best.write(best, step)
            written = write_digested(content, self.folder, f"{step:08d}")
            self._prune(written)
        except OSError as error:
            _log_line(
                f"the checkpoint after step {step} could not be written to {self.folder} ({error}): free space or fix "
                "the disk; the training goes on, and the checkpoint before it is kept"
            )
            return False
        return True

    def _prune(self, written: Path) -> None:
        """Keep the newest; a step after the one just written is of a damaged checkpoint that was passed over."""
        before = [path for path in self._checkpoints() if _step(path) < _step(written)]
        kept = [*before, written][-self.num_kept :]
        for path in self._checkpoints():
            if path not in kept:
                path.unlink(missing_ok=True)
        self._best.prune([_step(path) for path in kept])

    def _checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob(_FILES))

    def _report_changes(self, about: Mapping[str, str], path: Path) -> None:
        changes = [
            f"{name} {about.get(name, 'unknown')} then, {value} now"
            for name, value in self.about.items()
            if about.get(name) != value
        ]
        if changes:
            _log_line(f"{path}: {', '.join(changes)}; what is trained on from it may differ in its last digits")


def _step(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _log_line(text: str) -> None:
    if distributed.rank() == 0:
        log_line(text)


class BestWeights:
    """The best weights of one run, in memory, and in a file beside its checkpoints.

    The file is written with the first checkpoint that relies on it: a run that is killed before it repeats the epoch.
    It is called ``best-<epoch>-<step of that checkpoint>-<digest>.pt``.

    Attributes:
        newest: The best so far in this process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.newest: Best | None = None
        self._written_epoch: int | None = None

    def keep(self, weights: Mapping[str, Tensor], epoch: int) -> None:
        """`weights` of `epoch` (from 0) are the best so far."""
        self.newest = epoch, to_host(weights)

    def write(self, newest: Best | None, step: int) -> None:
        """Write what was `newest` at the checkpoint after `step`, if that is not done yet.

        Raises:
            OSError: If they cannot be written; the ones before are still there.
        """
        if newest is not None and newest[0] != self._written_epoch:
            epoch, weights = newest
            write_digested(weights, self.folder, f"best-{epoch:04d}-{step:08d}")
            self._written_epoch = epoch

    def prune(self, steps: Collection[int]) -> None:
        """Delete the files that no checkpoint after any of `steps` relies on."""
        by_step = {int(path.name.split("-")[2]): path for path in self._files()}
        needed = {max((first for first in by_step if first <= step), default=None) for step in steps}
        for first, path in by_step.items():
            if first not in needed:
                path.unlink(missing_ok=True)

    def read(self, epoch: int) -> dict[str, Tensor]:
        """The best weights, on the CPU.

        Raises:
            ValueError: If another epoch's are kept, or the file is damaged.
        """
        if self.newest is not None and self.newest[0] == epoch:
            return self.newest[1]
        files = [path for path in self._files() if int(path.name.split("-")[1]) == epoch]
        for path in reversed(files):
            weights = read_digested(path)
            if weights is not None:
                result: dict[str, Tensor] = weights
                return result
        state = f"{files[-1]} is damaged" if files else f"{self.folder} holds no best weights of epoch {epoch}"
        raise ValueError(f"{state}: delete {self.folder} and train again")

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("best-*.pt"))
