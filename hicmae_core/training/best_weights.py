"""The weights of the best epoch, which every checkpoint made after that epoch relies on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from hicmae_core.training.digested import read_digested, to_host, write_digested

Best = tuple[int, dict[str, Tensor]]
"""An epoch, from 0, and its weights on the CPU."""


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
                return weights
        state = f"{files[-1]} is damaged" if files else f"{self.folder} holds no best weights of epoch {epoch}"
        raise ValueError(f"{state}: delete {self.folder} and train again")

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("best-*.pt"))
