"""Which files a user means by names, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from hicmae_core.data.corpora.listing import Folder, in_words
from hicmae_core.files import in_a_line
from hicmae_core.media.formats import AUDIO, VIDEO
from hicmae_core.progress import tell


def media_files(names: Iterable[str]) -> list[Path]:
    """The files that are meant, each once; how many others a folder holds is told.

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
            found, others = media_in(path)
            if not found:
                there = f"; there is other content: {in_words(others)}" if others else ""
                raise ValueError(f"{name}: no video or sound file in this folder, by extension{there}")
            tell_passed_over(path, others)
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


def tell_passed_over(folder: Path, others: Sequence[str]) -> None:
    """Say how many files are not taken for video or audio."""
    if others:
        tell(
            f"{in_a_line(folder)}: passed over {in_words(others)}, no video or audio by extension; to open one, name it"
        )
