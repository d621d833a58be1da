"""A folder into which videos are put while it is watched."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hicmae_core.files import as_text
from stages.cli.files import media_in, tell_passed_over

PATIENCE_SECONDS = (2.0, 10.0)
"""How long a file must be as it is before it is looked at, and before it is looked at again if it had no answer."""


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
        """Hand a file that had no answer out once more, later: it may be one whose writer pauses.

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
        tell_passed_over(self._folder, [name for name in others if name not in self._passed_over])
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
