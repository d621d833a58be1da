"""Checkpoints of a training whose weights are spread over processes (FSDP2)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hicmae_core.config import ComputeParams
from hicmae_core.training.checkpoint import FILES, FOLDERS, CheckpointStore
from hicmae_core.training.distributed import rank
from hicmae_core.training.sharded_files import is_undamaged, read_sharded, together, write_sharded


class ShardedCheckpointStore(CheckpointStore):
    """A `CheckpointStore` whose checkpoints are folders, ``<step>-<digest>``, that every process writes a part of.

    Every process calls `save` and `latest`; rank 0 alone calls `save_best`, `best` and `clear`. A training goes on from
    them with any number of processes.
    """

    _newest_succeeded = True

    def save(self, state: Mapping[str, Any], step: int, wait: bool = False) -> None:
        """Keep `state` as the checkpoint after `step`; it is written on return, whatever `wait`.

        Tensors that are not shared, and plain values, are those of rank 0.
        """
        try:
            together(lambda: self._best.write(self._best.newest, step))
            written = write_sharded({"about": self.about, "state": state}, self.folder, f"{step:08d}")
            together(lambda: self._prune(written) if rank() == 0 else None)
        except OSError as error:
            self._tell_unwritten(step, error)
            self._newest_succeeded = False
        else:
            self._newest_succeeded = True

    def wait(self) -> bool:
        """Whether the newest write succeeded."""
        return self._newest_succeeded

    def latest(self, template: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The newest undamaged state, on the CPU, parted as the tensors of `template`; None without one.

        Raises:
            ValueError: If `template` lacks one of its tensors.
        """
        assert template is not None
        for path in reversed(together(self._checkpoints)[0]):
            if is_undamaged(path):
                content = read_sharded(path, {"state": template})
                self._tell_changes(content["about"], path)
                return content["state"]
            self._tell_damaged(path)
        self._tell_others(FILES, "ddp")
        return None

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob(FOLDERS))

    def _delete(self, path: Path) -> None:
        shutil.rmtree(path)


def checkpoint_store(folder: Path, compute: ComputeParams) -> CheckpointStore:
    """The store that `compute.parallel` needs; a checkpoint that comes from a folder of another name is told."""
    kind = ShardedCheckpointStore if compute.parallel == "fsdp" else CheckpointStore
    return kind(folder, compute.num_checkpoints, {"run": folder.name})
