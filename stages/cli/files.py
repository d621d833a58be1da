"""Which files a user means by names, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from hicmae_core.data.corpora.listing import SOUND, VIDEO, Folder

_FURTHER = (".m4v", ".wmv", ".3gp", ".ts", ".mts", ".ogv", ".ogg", ".aac")
MEDIA = (*VIDEO, *SOUND, *_FURTHER)


def media_files(names: Iterable[str]) -> list[Path]:
    """The files that are meant, each once.

    Args:
        names: A file, taken as it is; a folder, of which every video and sound file is taken, at any depth; or a
            pattern with ``*``, ``?`` or ``**``.

    Raises:
        ValueError: If a folder holds no such file, or nothing fits a pattern.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = media_in(path)
            if not found:
                raise ValueError(f"{name}: no video or sound file in this folder ({' '.join(MEDIA)})")
        elif not path.exists() and glob.has_magic(name):
            found = [Path(match) for match in sorted(glob.glob(name, recursive=True)) if Path(match).is_file()]
            if not found:
                raise ValueError(f"{name}: no file fits this pattern")
        else:
            found = [path]
        files += found
    return list(dict.fromkeys(files))


def media_in(folder: Path) -> list[Path]:
    """Every video and sound file in a folder, at any depth."""
    return [folder / name for name in Folder(folder).files if name.lower().endswith(MEDIA)]
