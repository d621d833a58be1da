"""Says whether a training goes on from a checkpoint, or why it starts afresh although one of its kind was cut short."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hicmae_core.files import fingerprint, flatten, write_json
from hicmae_core.progress import log_line
from hicmae_core.training import distributed

_NOTE = "inputs.json"
_CONTENT = "content "
_CHECKPOINTS = "[0-9]*"
"""Named by their step, be they files or folders."""


def begin(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Tell the user where a training begins, and leave a note of what determines it beside its checkpoints.

    Args:
        folder: Of its checkpoints, ending in ``-`` and the fingerprint of `inputs`.
        inputs: Everything that determines the training by name: parameter sections, plain values, and paths, which
            stand for their content.
    """
    if distributed.rank() != 0:
        return
    described = _described(inputs)
    if any(folder.glob(_CHECKPOINTS)):
        log_line(f"resuming the interrupted training in {folder}")
    else:
        for other in _interrupted_beside(folder):
            changes = ", ".join(_changes(_note_of(other), described)) or "something"
            size = sum(path.stat().st_size for path in other.rglob("*") if path.is_file())
            log_line(
                f"{changes} changed since the training in {other} was interrupted, so this one starts afresh; "
                f"its checkpoints ({size / 1e6:,.1f} MB) can be deleted, or used again by changing it back"
            )
    write_json(folder / _NOTE, described)


def _described(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Flat names and values; of paths, a digest of their content."""
    plain: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, BaseModel):
            plain[name] = value.model_dump(mode="json")
        elif isinstance(value, Path) or (isinstance(value, list | tuple) and value and isinstance(value[0], Path)):
            plain[name] = _CONTENT + fingerprint(value)
        else:
            plain[name] = value
    return flatten(plain)


def _interrupted_beside(folder: Path) -> Iterable[Path]:
    """Folders with checkpoints of the same training under other fingerprints, the newest first."""
    stem = re.escape(folder.name.rpartition("-")[0])
    others = [
        other
        for other in folder.parent.glob("*")
        if re.fullmatch(f"{stem}-[0-9a-f]{{16}}", other.name) and other != folder and any(other.glob(_CHECKPOINTS))
    ]
    return sorted(others, key=lambda other: other.stat().st_mtime, reverse=True)


def _note_of(folder: Path) -> dict[str, str]:
    try:
        result: dict[str, str] = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        return result
    except FileNotFoundError:  # interrupted before its note was written
        return {}


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[str]:
    for name in dict.fromkeys([*old, *new] if old else ()):
        before, after = old.get(name, "absent"), new.get(name, "absent")
        if before != after:
            is_content = before.startswith(_CONTENT) and after.startswith(_CONTENT)
            yield f"the {name}" if is_content else f"{name} ({before} -> {after})"
