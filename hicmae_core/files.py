"""Files that appear whole or not at all, and files that stand in for others."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hicmae_core.code import code_digest

START_BYTES = 1024
"""By so many bytes at its start a file is known for what it is (`stand_in`, `archive_kind`)."""
MAX_STAND_IN_BYTES = 65_536
"""A larger file is no stand-in: pointers have 100 to 200 bytes, error pages some thousand."""
_POINTERS = (
    (b"version https://git-lfs.github.com/spec/", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"version http://git-media.io/", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"/annex/objects/", "is a git-annex pointer, not the file itself: run `git annex get`"),
)
_PAGES = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype html|html|head|error)\b", re.I | re.S
)
_ARCHIVES = (
    (0, b"PK", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ", "xz"),
    (0, b"7z\xbc\xaf", "7z"),
    (0, b"Rar!", "RAR"),
    (257, b"ustar", "tar"),
)
VIDEO = (
    *(".mp4", ".avi", ".flv", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".asf", ".3gp", ".3g2"),
    *(".ts", ".mts", ".m2ts", ".m2t", ".vob", ".m2p", ".ogv", ".f4v", ".qt", ".divx"),
)
AUDIO = (".wav", ".flac", ".m4a", ".mp3", ".aac", ".ogg", ".oga", ".opus", ".wma", ".mka", ".weba")
"""Extensions of files with video, and of those with audio alone; of one clip's files the first is taken."""

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")
IMAGE_KINDS = ", ".join(extension.removeprefix(".") for extension in _IMAGES)
"""Extensions of images, for messages."""
_MAX_KEPT_NAME = 50
"""Letters of a name that a temporary file keeps: a name may take 255 bytes, and a letter 4."""


def as_text(name: Path | str) -> str:
    """A name, or a sentence with one, as Unicode that every file takes: bytes that are no UTF-8 become ``\\xe9``."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def in_a_line(name: Path | str) -> str:
    """As `as_text`, and what would break a line or turn its direction is written out, for people to read."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in as_text(name)
    )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed to disk and takes its place.

    On any error, a full disk included, the temporary file is removed and `path` stays as it was; an OSError that does
    not say which file it is about says `path`.
    """
    if path.is_dir():  # said before the work, not after it
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:_MAX_KEPT_NAME]}.{os.getpid()}.part")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left of files that they were writing into a folder."""
    for leftover in folder.glob(".*.part"):
        leftover.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all.

    Raises:
        ValueError: If `value` holds NaN or infinity, which JSON has no word for.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def stand_in(start: bytes) -> str:
    """What a file is in place of the one that was meant, and the fix; empty if nothing tells so.

    Args:
        start: Its first bytes; `START_BYTES` of them are read.
    """
    start = start[:START_BYTES]
    for sign, what in _POINTERS:
        if start.startswith(sign):
            return what
    if b"\nouts:\n- " in b"\n" + start and b"\n  path: " in start:
        return "is a DVC pointer, not the file itself: run `dvc pull`, and name the file without .dvc"
    if _PAGES.match(start):
        return "is a web page, as a server sends in place of a file that it refuses: download the file again"
    return ""


def archive_kind(start: bytes) -> str:
    """The kind of archive that begins so, such as ``zip``; empty if none does. `start` as of `stand_in`."""
    return next((kind for place, sign, kind in _ARCHIVES if start.startswith(sign, place)), "")


def brief(error: Exception) -> str:
    """What a library says of a file, in one short line: some name each of hundreds of weights."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "weights_only" not in line]
    return (lines[0] if lines else type(error).__name__)[:200]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """A name of 16 hexadecimal digits for everything that determines a result.

    Args:
        parts: Parameter sections, plain values, and paths, which stand for their content: the `code_digest` of a Python
            file or of every one below a folder, another file's bytes. The order matters.
    """
    canonical = json.dumps([_plain(part) for part in parts], sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(part: Any) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if isinstance(part, Path) and part.is_dir():
        return {str(file.relative_to(part)): code_digest(file) for file in sorted(part.rglob("*.py"))}
    if isinstance(part, Path):
        return code_digest(part) if part.suffix == ".py" else sha256_of(part)
    if isinstance(part, (list, tuple)):
        return [_plain(element) for element in part]
    return part


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``finetune.augmentation.mixup`` and the like."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat


def is_image(name: str) -> bool:
    """Whether a file of that name is an image that is read, by its extension in any case; hidden files are not."""
    return name[name.rfind(".") :].lower() in _IMAGES and not name.startswith(".")
