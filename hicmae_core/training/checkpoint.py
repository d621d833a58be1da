"""Checkpoints from which a killed training resumes."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hicmae_core.files import atomic_path

_LIBRARY = Path(__file__).resolve().parent.parent
TRAINING_CODE = [_LIBRARY / room for room in ("data", "model", "training")]
"""The code that determines what a training computes, for `files.fingerprint`."""
_NUM_KEPT = 2
_log = logging.getLogger(__name__)


class CheckpointStore:
    """The newest two checkpoints of one run, in a folder of their own.

    A file's name carries the digest of its bytes, so a damaged one is noticed and the one before is used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Keep `state` (tensors and plain values only) as the checkpoint after `step`."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getbuffer()
        path = self.folder / f"{step:08d}-{_digest(content)}.pt"
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        for leftover in self.folder.glob(".*.part"):
            leftover.unlink()
        for old in self._newest_first()[_NUM_KEPT:]:
            old.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The newest undamaged state, on the CPU; None without one."""
        for path in self._newest_first():
            content = path.read_bytes()
            if path.stem.endswith(_digest(content)):
                return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            _log.warning("%s is damaged and passed over; the checkpoint before it is used, if there is one", path)
        return None

    def clear(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.pt"), reverse=True)


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
