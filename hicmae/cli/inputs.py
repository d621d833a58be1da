"""Files that a user means by names, folders and patterns, and a folder that is watched as it grows."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hicmae_core.corpora.listing import Folder, in_words
from hicmae_core.files import AUDIO, VIDEO, as_text, in_a_line
from hicmae_core.progress import log_line

PATIENCE_SECONDS = (2.0, 10.0)
"""How long a file must be as it is before it is inspected, and before it is inspected again if it had no prediction."""


def media_files(names: Iterable[str]) -> list[Path]:
    """The files that are meant, each once; how many others a folder holds is reported.

    Args:
        names: A file, taken as it is; a folder, of which every video and audio file is taken, at any depth; or a
            pattern with ``*``, ``?`` or ``**``.

    Raises:
        ValueError: If a folder holds no such file, or nothing fits a pattern.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found, others = media_in(path)
            if not found:
                there = f"; there is other content: {in_words(others)}" if others else ""
                raise ValueError(f"{name}: no video or audio file in this folder, by extension{there}")
            report_passed_over(path, others)
        elif not path.exists() and glob.has_magic(name):
            found = [Path(match) for match in sorted(glob.glob(name, recursive=True)) if Path(match).is_file()]
            if not found:
                raise ValueError(f"{name}: no file fits this pattern")
        else:
            found = [path]
        files += found
    return list(dict.fromkeys(files))


def media_in(folder: Path) -> tuple[list[Path], list[str]]:
    """Every video and audio file in a folder, at any depth, by its extension; and the relative paths of the others."""
    listed = Folder(folder, any_name=True)
    names = listed.files
    media = {name for name in names if name.lower().endswith((*VIDEO, *AUDIO))}
    others = sorted([*(name for name in names if name not in media), *listed.images])
    return [folder / name for name in names if name in media], others


def report_passed_over(folder: Path, others: Sequence[str]) -> None:
    """Say how many files are not taken for video or audio."""
    if others:
        log_line(
            f"{in_a_line(folder)}: passed over {in_words(others)}, no video or audio by extension; to open one, name it"
        )


@dataclass
class _File:
    mark: tuple[int, int]
    """Size, and time of the last change."""
    since: float
    num_looks: int = 0


class GrowingFolder:
    """The files of a folder that are finished and have not been handed out.

    Nothing tells when a file has been written to its end, so it has to stay as it is for a moment. It is polled,
    because the systems that tell of new files do not tell of those that another machine puts there.

    Args:
        folder: The folder, with all below it.
        known: Files that are not handed out unless they change, as `as_text` has them.

    Raises:
        ValueError: If there is no such folder.
    """

    def __init__(self, folder: Path, known: Iterable[str] = ()) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder to watch")
        self._folder = folder
        self._files: dict[Path, _File] = {}
        self._passed_over: set[str] = set()
        here = {os.path.realpath(path) for path in known}
        for path, file in self._listed().items():
            if as_text(os.path.realpath(path)) in here:
                file.num_looks = len(PATIENCE_SECONDS)
                self._files[path] = file

    def finished(self) -> list[Path]:
        """Files that have not changed for a moment, sorted; each is handed out once, and again when it has changed."""
        self._files = self._listed()
        now = time.monotonic()
        found = []
        for path, file in self._files.items():
            left = PATIENCE_SECONDS[file.num_looks :][:1]
            if left and now - file.since >= left[0]:
                found.append(path)
                file.num_looks = len(PATIENCE_SECONDS)
        return found

    def put_off(self, path: Path) -> bool:
        """Hand a file that had no prediction out once more, later: it may be one whose writer pauses.

        Returns:
            Whether that is still to come; a file that has been as it is for long is finished.
        """
        file = self._files[path]
        if time.monotonic() - file.since >= PATIENCE_SECONDS[1]:
            return False
        file.num_looks = 1
        return True

    def _listed(self) -> dict[Path, _File]:
        listed = {}
        media, others = media_in(self._folder)
        report_passed_over(self._folder, [name for name in others if name not in self._passed_over])
        self._passed_over |= {*others}
        for path in media:
            try:
                found = path.stat()
            except OSError:  # gone since it was listed
                continue
            mark = (found.st_size, found.st_mtime_ns)
            before = self._files.get(path)
            listed[path] = before if before is not None and before.mark == mark else _File(mark, time.monotonic())
        return listed
