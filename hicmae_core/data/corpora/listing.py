"""What is in a raw folder: names only, each directory listed once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

_MAX_KINDS = 8
"""Extensions that a note names."""


class _Listing(NamedTuple):
    files: frozenset[str]
    folders: tuple[tuple[str, bool], ...]
    """Name, and whether it is a link."""


class Folder:
    """A raw folder; paths in it are relative, with ``/``.

    Args:
        root: Where it is. Links in it are followed, those that lead back into it are not.

    Attributes:
        notes: Sentences on what is in it and was not used, for whoever reads it to add to and to show to the user.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes: list[str] = []
        self._listings: dict[str, _Listing] = {}
        self._links_seen: set[str] = set()

    @cached_property
    def files(self) -> list[str]:
        """Every file at any depth, sorted; hidden ones and what macOS adds to archives left out."""
        found: list[str] = []
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            prefix = f"{folder}/" if folder else ""
            listing = self._list(folder)
            found.extend(prefix + name for name in listing.files if not name.startswith("."))
            for name, is_link in listing.folders:
                if not name.startswith((".", "__MACOSX")) and not (is_link and self._leads_back(prefix + name)):
                    waiting.append(prefix + name)
        return sorted(found)

    def holds(self, path: str) -> bool:
        """Whether there is a file of that relative path; in a folder that must not be listed, opening it will tell."""
        folder, _, name = path.rpartition("/")
        try:
            return name in self._list(folder).files
        except PermissionError:
            return True

    def find(self, suffix: str) -> str | None:
        """The first file whose path is or ends with `suffix`, such as ``set_1/test.txt``; None if there is none."""
        return next((path for path in self.files if path == suffix or path.endswith(f"/{suffix}")), None)

    def find_needed(self, suffix: str, hint: str) -> Path:
        """As `find`, but the full path, or a ValueError with `hint`."""
        path = self.find(suffix)
        if path is None:
            raise ValueError(f"{self.root}: there is no {suffix}; {hint}")
        return self.root / path

    def _list(self, folder: str) -> _Listing:
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = _listing_of(os.path.join(self.root, folder))
        return known

    def _leads_back(self, link: str) -> bool:
        """Whether a linked folder lies in this one, holds it, or was linked before."""
        home, real = os.path.realpath(self.root), os.path.realpath(self.root / link)
        if real in self._links_seen or os.path.commonpath([real, home]) in (home, real):
            return True
        self._links_seen.add(real)
        return False


def stem(path: str) -> str:
    """A file's name without folder and extension."""
    return Path(path).stem


def in_words(paths: Iterable[str]) -> str:
    """How many files there are of each extension: ``3 files (2 .txt, 1 without extension)``."""
    kinds = Counter(Path(path).suffix.lower() or "without extension" for path in paths)
    total = kinds.total()
    named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_MAX_KINDS))
    more = ", ..." if len(kinds) > _MAX_KINDS else ""
    return f"{total} file{'s' * (total != 1)} ({named}{more})"


def note_passed_over(folder: Folder, key_of: Callable[[str], str | None], found: Container[str]) -> None:
    """Note files that have a clip's name, but not the extension of what is read, where the clip has no other file.

    Args:
        folder: The raw folder.
        key_of: As of `by_key`.
        found: The clips that have a file.
    """
    others = [path for path in folder.files if (key := key_of(path)) is not None and key not in found]
    if others:
        folder.notes.append(
            f"passed over {in_words(others)} named as clips, such as {others[0]}: not the extension of what is read"
        )


def by_key(
    paths: Iterable[str], suffixes: tuple[str, ...], key_of: Callable[[str], str | None] = stem
) -> dict[str, str]:
    """Media files by what identifies them.

    Args:
        paths: Relative paths.
        suffixes: Extensions that count, the preferred first; case does not matter.
        key_of: The key of a path, None for a file that is not meant.

    Raises:
        ValueError: If two files of one extension have one key.
    """
    found: dict[str, str] = {}
    ranks: dict[str, int] = {}
    for path in paths:
        suffix = path[path.rfind(".") :].lower()
        key = key_of(path) if suffix in suffixes else None
        if key is None:
            continue
        rank = suffixes.index(suffix)
        if rank == ranks.get(key):
            raise ValueError(f"{found[key]} and {path} are one clip by name; remove one of them")
        if rank < ranks.get(key, len(suffixes)):
            found[key], ranks[key] = path, rank
    return found


def _listing_of(path: str) -> _Listing:
    """Files and folders of a folder that may not be there; links that lead in a circle are neither."""
    files, folders = [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir():
                        folders.append((entry.name, entry.is_symlink()))
                    elif entry.is_file():
                        files.append(entry.name)
    except PermissionError:
        raise
    except (OSError, ValueError):
        pass
    return _Listing(frozenset(files), tuple(folders))
