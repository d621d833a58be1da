"""Checkpoints from which a killed training resumes, and the fingerprint that names their folder."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from hicmae_core.files import atomic_path, sha256_of

_LIBRARY = Path(__file__).resolve().parent.parent
TRAINING_CODE = [_LIBRARY / room for room in ("data", "model", "training")]
"""The code that determines what a training computes, for `fingerprint`."""
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


def fingerprint(*parts: Any) -> str:
    """A name of 16 hexadecimal digits for everything that determines a result.

    Args:
        parts: Parameter sections, plain values, and paths, which stand for their content: a file's
            bytes, or every Python file below a folder. The order matters.
    """
    canonical = json.dumps([_plain(part) for part in parts], sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if isinstance(part, Path) and part.is_dir():
        return {str(file.relative_to(part)): sha256_of(file) for file in sorted(part.rglob("*.py"))}
    if isinstance(part, Path):
        return sha256_of(part)
    if isinstance(part, (list, tuple)):
        return [_plain(element) for element in part]
    return part
