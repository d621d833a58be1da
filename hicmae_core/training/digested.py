"""Files of tensors and plain values whose names carry the digest of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from hicmae_core.files import sha256_of

NUM_DIGITS = 16


def to_host(value: Any) -> Any:
    """A copy of tensors and plain values in containers; tensors come to the CPU, and nothing is shared with `value`.

    Raises:
        TypeError: If something is neither a tensor nor a plain value, and could not be read back.
    """
    copy = _copied(value)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # the copies have only been asked for
    return copy


def write_digested(value: Any, folder: Path, name: str) -> Path:
    """Write ``<name>-<digest>.pt`` whole or not at all, and flush it to the disk; no second copy is held in memory.

    Raises:
        OSError: If it cannot be written; nothing is left of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as handle:
            digest = _save(value, handle)
            os.fsync(handle.fileno())
        path = folder / f"{name}-{digest}.pt"
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_digested(path: Path) -> Any:
    """What `write_digested` wrote, on the CPU; None if the file is damaged or gone. It cannot run code."""
    try:
        if sha256_of(path)[:NUM_DIGITS] != path.stem.rpartition("-")[2]:
            return None
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None


class _Hashing:
    """A binary file that digests what goes through it."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle = handle
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        try:
            return self.handle.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.handle.flush()


def _save(value: Any, handle: IO[bytes]) -> str:
    hashing = _Hashing(handle)
    try:
        torch.save(value, hashing)  # type: ignore[arg-type]  # all that it asks of a file is to write and flush
    except RuntimeError as error:
        if hashing.error is not None:  # torch tells of an unfinished archive, not of why
            raise hashing.error from error
        raise
    return hashing.sha256.hexdigest()[:NUM_DIGITS]


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _copied_tensor(value.detach())
    if isinstance(value, Mapping):
        return {_copied(key): _copied(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(element) for element in value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(f"a checkpoint holds tensors and plain values, not {type(value).__name__}: {value!r}")
    return value


def _copied_tensor(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cuda":
        return tensor.to("cpu", copy=True)
    host = torch.empty_like(tensor, device="cpu", pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
