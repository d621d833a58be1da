"""A state that several processes share, in one folder: each writes and reads its own part (FSDP2's tensors).

Every process calls each function, with the same structure and paths on a file system that all of them see. A folder
``<name>-<digest>`` appears whole or not at all. It holds the tensors and their index as torch.distributed.checkpoint
writes them, everything else in ``plain-<digest>.pt``, and ``checksums.json`` with the digest of every file; the
folder's own digest is that of ``checksums.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import EnumMeta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as processes
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, load, save
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.tensor import DTensor

from hicmae_core.files import sha256_of, write_json
from hicmae_core.training.digested import NUM_DIGITS, read_digested, to_host, write_digested
from hicmae_core.training.distributed import rank, world_size

_CHECKSUMS = "checksums.json"
_INDEX = ".metadata"
_INDEX_NAMES = {
    "torch": ("Size", "float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool"),
    "torch.serialization": ("_get_layout",),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.distributed.checkpoint.metadata": (
        "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    ),
    "pathlib": ("PosixPath",),
    "pathlib._local": ("PosixPath",),
}  # fmt: skip

Result = TypeVar("Result")


def together(action: Callable[[], Result]) -> list[Result]:
    """What every process's `action` returned, by rank.

    Raises:
        OSError: In every process, if it was raised in any.
    """
    outcome: Result | OSError
    try:
        outcome = action()
    except OSError as error:
        outcome = error
    outcomes: list[Any] = [outcome]
    if processes.is_initialized():
        outcomes = [None] * world_size()
        processes.all_gather_object(outcomes, outcome)
    for each in outcomes:
        if isinstance(each, OSError):
            raise each
    return outcomes


def write_sharded(state: Mapping[str, Any], folder: Path, name: str) -> Path:
    """Write `state` to ``<folder>/<name>-<digest>``.

    Raises:
        OSError: In every process, if one cannot write; nothing is left of it.
    """
    temporary = folder / f".{name}.partial"
    tensors = dict(_tensors(state))
    sharded = [path for path, value in tensors.items() if isinstance(value, DTensor)]
    plain = to_host({"state": _with(state, dict.fromkeys(tensors)), "tensors": list(tensors), "sharded": sharded})
    try:
        together(lambda: _make_afresh(temporary) if rank() == 0 else None)
        _save(tensors, temporary)
        digests = together(lambda: {part.name: sha256_of(part) for part in temporary.glob(f"__{rank()}_*")})
        return together(lambda: _finish(plain, digests, temporary, folder / name) if rank() == 0 else folder)[0]
    finally:
        if rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)


def is_undamaged(folder: Path) -> bool:
    """Whether every byte is as it was written; each process looks at its share of the files."""
    return all(together(lambda: _is_undamaged(folder, rank(), world_size())))


def read_sharded(folder: Path, template: Mapping[str, Any]) -> dict[str, Any]:
    """The state in a folder.

    Args:
        folder: As `write_sharded` made it, with however many processes.
        template: A state of this training, whose tensors say what part of each is this process's. Not changed.

    Returns:
        The state, its tensors on the CPU: parted as in `template`, or whole where it has none at that place.

    Raises:
        ValueError: If `template` lacks a tensor that is too large to be whole: one that was parted.
    """
    plain, reader = read_digested(next(folder.glob("plain-*.pt"))), _Reader(folder)
    here = dict(_tensors(template))
    missing = [path for path in plain["sharded"] if path not in here]
    if missing:
        raise ValueError(f"{folder} holds {missing[0]}, which this training has not; delete the folder to start afresh")
    stored = reader.read_metadata().state_dict_metadata
    tensors = {
        path: here[path].detach().to("cpu", copy=True) if path in here else _whole(stored[path])
        for path in plain["tensors"]
    }
    with _alone_allowed():
        load(tensors, storage_reader=reader)
    return _with(plain["state"], tensors)


class _Reader(FileSystemReader):
    """A reader whose index cannot run code."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        with open(Path(self.path) / _INDEX, "rb") as handle:
            metadata = _Unpickler(handle).load()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):  # by which Python 3.11.0 to 3.11.3 pickle members of enums
            return _member
        if name not in _INDEX_NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint's index")
        return super().find_class(module, name)


def _member(kind: Any, name: str) -> Any:
    if not isinstance(kind, EnumMeta):
        raise pickle.UnpicklingError(f"an attribute of {kind} has no place in a checkpoint's index")
    return kind[name]


def _whole(stored: Any) -> Tensor:
    return torch.empty(stored.size, dtype=stored.properties.dtype)


@contextmanager
def _alone_allowed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _make_afresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _save(tensors: dict[str, Tensor], folder: Path) -> None:
    try:
        with _alone_allowed():
            save(tensors, storage_writer=FileSystemWriter(folder))
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        if all(isinstance(cause, OSError) for cause in causes):
            raise causes[0] from error
        raise


def _finish(plain: dict[str, Any], digests: list[dict[str, str]], temporary: Path, target: Path) -> Path:
    checksums = {name: digest for part in digests for name, digest in part.items()}
    for path in (temporary / _INDEX, write_digested(plain, temporary, "plain")):
        checksums[path.name] = sha256_of(path)
    write_json(temporary / _CHECKSUMS, checksums)
    path = target.with_name(f"{target.name}-{sha256_of(temporary / _CHECKSUMS)[:NUM_DIGITS]}")
    os.replace(temporary, path)
    return path


def _is_undamaged(folder: Path, share: int, num_shares: int) -> bool:
    try:
        content = (folder / _CHECKSUMS).read_bytes()
        if not folder.name.endswith(hashlib.sha256(content).hexdigest()[:NUM_DIGITS]):
            return False
        mine = sorted(json.loads(content).items())[share::num_shares]
        return all(sha256_of(folder / name) == digest for name, digest in mine)
    except FileNotFoundError:
        return False


def _tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its path, such as ``optimizer/state/0/exp_avg``."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, element in items:
            yield from _tensors(element, f"{path}/{key}" if path else str(key))


def _with(value: Any, replaced: Mapping[str, Tensor | None], path: str = "") -> Any:
    """`value`, with other values at some paths."""
    if path in replaced:
        return replaced[path]
    if isinstance(value, Mapping):
        return {key: _with(element, replaced, f"{path}/{key}" if path else str(key)) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        elements = enumerate(value)
        return type(value)(_with(each, replaced, f"{path}/{index}" if path else str(index)) for index, each in elements)
    return value
