"""Tensors by name from a file of weights, of torch.save or safetensors, whatever is wrapped around them.

A file's first bytes say what it is, not its suffix. Nothing in it is executed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import re
import types
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from hicmae_core.files import START_BYTES, archive_kind, brief, stand_in
from hicmae_core.progress import log_line

HEADER_KEY = "hicmae"
"""The one entry of a .safetensors header that this project writes: several would be written in random order."""

MAX_NAMES = 5
"""An error names no more than these."""

_DICTIONARIES = (
    "model", "module", "state_dict", "model_state_dict", "net", "model_ema", "state_dict_ema", "ema",
)  # fmt: skip
"""What training programs call their weights; the first that is there is taken, averages over steps last."""

_WRAPPERS = {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What DataParallel, torch.compile, Lightning Fabric, FSDP and checkpointing put into the names of parameters."""

_PICKLE, _LEGACY = b"\x80", b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""How a pickle begins, and what follows two bytes later if torch.save wrote it before torch 1.6."""
_GLOBAL = re.compile(r"(?:Unsupported global: GLOBAL|unsupported GLOBAL) (\S+)")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by the names of its parameters, without those of wrappers around the model.

    The weights may lie bare, or in a dictionary of `_DICTIONARIES` or any other if it is the only one. Where another
    choice was possible, a line says which was made.

    Raises:
        ValueError: If there is no such file, it is none of weights, or holds what could run code; in one sentence.
    """
    if not path.is_file():
        raise ValueError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    content = _read(path)
    if not isinstance(content, Mapping):
        raise _unreadable(path, f"it holds a {type(content).__name__}, not weights by name")
    weights = _unwrapped(path, content)
    renamed = {_without_wrappers(key): value for key, value in weights.items()}
    if len(renamed) < len(weights):
        raise _unreadable(path, "two of its weights have one name once wrappers such as `module.` are stripped")
    renamed.pop("n_averaged", None)  # torch.optim.swa_utils counts its steps there
    return renamed


def own_header(path: Path) -> dict[str, Any] | None:
    """What this project wrote into a model's file beside the weights; None if it did not write the file.

    Raises:
        ValueError: If it begins as a .safetensors file, but cannot be read.
    """
    if not path.is_file() or not _is_safetensors(path):
        return None
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, Any] | None = json.loads((file.metadata() or {}).get(HEADER_KEY, "null"))
            return header
    except (SafetensorError, ValueError) as error:
        why = f"its header is damaged or does not fit its content, as of a file cut short ({brief(error)})"
        raise _unreadable(path, why) from error


def some(names: Sequence[object], limit: int | None = MAX_NAMES) -> str:
    """The first names, none of them without end, and how many more there are."""
    shown = [text if len(text := str(name)) <= 200 else f"{text[:200]}..." for name in names[:limit]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" ... and {more} more" if more else "")


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as those of safetensors do: the header's length, then JSON."""
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= 100_000_000


def _unreadable(path: Path, why: str) -> ValueError:
    """The error of a file that holds no weights."""
    kind = ".safetensors" if path.suffix == ".safetensors" else "weights"
    return ValueError(f"{path}: not a readable {kind} file: {why}")


def _read(path: Path) -> Any:
    with open(path, "rb") as file:
        start = file.read(START_BYTES)
    if _is_safetensors(path):
        if own_header(path) is not None:
            raise ValueError(
                f"{path}: is a model of this project, not a checkpoint of another program; use it as it is"
            )
        return load_file(path)
    if start.startswith(b"PK"):
        _check_zip(path)
    elif not (start.startswith(_PICKLE) and start[2:].startswith(_LEGACY)):
        raise _unreadable(path, _described(start))
    return _torch_load(path, is_zip=start.startswith(b"PK"))


def _described(start: bytes) -> str:
    """What a file is that neither safetensors nor torch.save wrote, by its first bytes."""
    if not start:
        return "it is empty"
    other = stand_in(start)
    if other:
        return f"it {other}"
    if start.startswith(b"\x08") and b"pytorch" in start[:64]:
        return "it is a program of ONNX; name the model that it was exported from"
    if start.startswith(_PICKLE) and start[1] in range(2, 6):  # its protocol
        return "it is a pickle that torch.save has not written, which could run code; write it with torch.save"
    archive = archive_kind(start)
    if archive:
        return f"it is a {archive} archive; unpack it and name the file of weights"
    try:
        text = start.decode("utf-8", "strict" if len(start) < START_BYTES else "ignore").strip()
    except UnicodeDecodeError:
        text = ""
    if text and all(letter.isprintable() or letter.isspace() for letter in text):
        return f"it is text, beginning {json.dumps(text[:40], ensure_ascii=False)}"
    return "neither torch.save nor safetensors has written it, or it was damaged"


def _check_zip(path: Path) -> None:
    """Refuse zip archives that torch.save has not written, or not to its end."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _unreadable(path, "the archive is cut short or damaged; copy or download it again") from error
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        raise _unreadable(
            path,
            "it is a program of TorchScript; save its weights with "
            "torch.save({'model': torch.jit.load(FILE).state_dict()}, 'weights.pth')",
        )
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        raise _unreadable(path, "it is a program of torch.export; name the model that it was exported from")
    if "data.pkl" not in inner:
        raise _unreadable(
            path, f"it is a zip archive that torch.save has not written; it holds {some(names) or 'nothing'}"
        )


def _torch_load(path: Path, is_zip: bool) -> Any:
    with torch.serialization.safe_globals(_SAFE), open(path, "rb") as file:
        # By its name torch would take a misnamed file for what it is not; a handle cannot be mapped into memory.
        misnamed = path.suffix == ".safetensors"
        try:
            return torch.load(
                file if misnamed else path, map_location="cpu", weights_only=True, mmap=is_zip and not misnamed
            )
        except Exception as error:  # a damaged pickle can raise anything
            unknown = _unknown_globals(path, error)
            if unknown:
                raise _unreadable(
                    path,
                    f"it holds {some(unknown)}, which could run code and is not read; where it was made, save the "
                    "weights alone: torch.save({'model': model.state_dict()}, 'weights.pth')",
                ) from error
            raise _unreadable(
                path, f"torch cannot read it, as of a file cut short or damaged ({brief(error)})"
            ) from error


def _unknown_globals(path: Path, error: Exception) -> list[str]:
    """Classes and functions in a file of torch.save that are not read."""
    try:
        with open(path, "rb") as file:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # of a legacy or damaged file, only the first is known
        return _GLOBAL.findall(str(error))


def _unwrapped(path: Path, content: Mapping[Any, Any]) -> Mapping[str, Tensor]:
    """The dictionary of weights in what a training program saved."""
    inside = {key: value for key, value in content.items() if isinstance(key, str) and _holds_weights(value)}
    bare = any(isinstance(value, Tensor) and "." in str(key) for key, value in content.items())
    named = [name for name in _DICTIONARIES if name in inside]
    chosen = named or (list(inside) if len(inside) == 1 and not bare else [])
    if chosen:
        others = [key for key in inside if key != chosen[0]]
        if others or chosen[0] not in ("model", "module", "state_dict"):
            log_line(f"{path}: weights taken from `{chosen[0]}`" + (f", not from {some(others)}" if others else ""))
        return _unwrapped(path, inside[chosen[0]])
    if any(isinstance(value, Tensor) for value in content.values()):
        return {str(key): value for key, value in content.items()}
    if inside:
        raise _unreadable(path, f"it holds several dictionaries of weights, none called model: {some(list(inside))}")
    empty = [name for name in _DICTIONARIES if name in content]
    why = f"`{empty[0]}` in it holds no weights" if empty else "it holds no weights"
    raise _unreadable(path, f"{why}; found {some(list(content)) or 'nothing'}")


def _holds_weights(value: Any) -> bool:
    """Whether something is a dictionary of tensors, or of such a dictionary; the states of generators are none."""
    if not isinstance(value, Mapping):
        return False
    return any(
        (isinstance(inner, Tensor) and inner.dtype != torch.uint8) or (key in _DICTIONARIES and _holds_weights(inner))
        for key, inner in value.items()
    )


def _without_wrappers(key: str) -> str:
    return ".".join(name for name in key.split(".") if name not in _WRAPPERS)


def _plain_dict(*factory: object) -> dict[Any, Any]:
    """In place of a defaultdict, into which torch's reader puts nothing."""
    return {}


_SAFE: list[Any] = [
    # numpy 1 and 2 differ in the name of the module
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((np.zeros(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    np.ndarray,
    np.dtype,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
    # a path of another system or Python, too, which cannot be made here
    *((pathlib.PurePosixPath, f"pathlib.{kind}") for kind in ("PosixPath", "_local.PosixPath")),
    *((pathlib.PureWindowsPath, f"pathlib.{kind}") for kind in ("WindowsPath", "_local.WindowsPath")),
    *((kind, f"pathlib.{kind.__name__}") for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath)),
    *((kind, f"pathlib._local.{kind.__name__}") for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath)),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
    *(argparse.Namespace, types.SimpleNamespace, frozenset, slice, range, dict, list, tuple, int, float, str, bool),
    (_plain_dict, "collections.defaultdict"),
]
"""What is met beside weights and does nothing when it is made; never what could be called to do something."""


def load_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], complaint: str, max_names: int | None = MAX_NAMES
) -> None:
    """Copy `state_dict` into `model`, whose keys and shapes it must have exactly.

    Args:
        model: The model to fill; left as it is on error.
        state_dict: Floating-point tensors of any precision by parameter name.
        complaint: How the error begins, such as which file does not fit.
        max_names: How many keys an error names; None is all.

    Raises:
        ValueError: In one sentence, naming the keys whose tensors are of another shape or kind, hold NaN or
            infinity, are missing or unexpected.
    """
    expected = model.state_dict()
    shared = [key for key in expected if key in state_dict]
    problems = [problem for key in shared if (problem := _problem(key, state_dict[key], expected[key]))]
    problems += [f"missing {key} {list(value.shape)}" for key, value in expected.items() if key not in state_dict]
    problems += [f"unexpected {key}" for key in state_dict if key not in expected]
    if problems:
        raise ValueError(f"{complaint}: {some(problems, max_names)}")
    with torch.no_grad():
        for key, value in expected.items():
            value.copy_(state_dict[key])


def _problem(key: str, given: object, expected: Tensor) -> str | None:
    """What is wrong with a tensor that should replace `expected`; None if nothing is."""
    if not isinstance(given, Tensor) or not given.is_floating_point():
        return f"{key} is no floating-point tensor"
    if given.layout != torch.strided or given.is_meta:
        return f"{key} is a sparse tensor or one without values"
    if given.shape != expected.shape:
        return f"{key} has shape {list(given.shape)} instead of {list(expected.shape)}"
    num_bad = given.numel() - int(given.to(expected.dtype).isfinite().sum())
    return f"{key} holds NaN or infinity in {num_bad:,} of {given.numel():,} values" if num_bad else None
