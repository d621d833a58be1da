"""The clips that are to be prepared, each with the key of everything that determines its rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pandas as pd

from hicmae_core.data.pool import ClipFiles


def wanted_clips(manifest: pd.DataFrame, root: Path, settings: str, path: str, digest: str) -> pd.DataFrame:
    """The clips of a manifest whose status is ``ok``.

    Args:
        manifest: The clips.
        root: Folder that the manifest's paths are relative to.
        settings: Fingerprint of all that determines a clip's rows but its file.
        path: The column of the file that determines a clip's rows.
        digest: The column of that file's SHA-256; where it is null, size and time of the file take its place.

    Returns:
        ``clip_id, video_path, audio_path, path`` and ``key``, sorted by clip id. A clip without a sound file of its own
        has its video's.

    Raises:
        ValueError: If a clip id comes twice, or there is no clip.
    """
    clips = manifest[manifest["status"] == "ok"].sort_values("clip_id", ignore_index=True)
    if clips.empty:
        raise ValueError("nothing to prepare: the manifest has no clip with status ok")
    twice = clips["clip_id"][clips["clip_id"].duplicated()]
    if len(twice):
        raise ValueError(f"clip id {twice.iloc[0]!r} comes twice; clip ids must be unique")
    clips["audio_path"] = clips["audio_path"].fillna(clips["video_path"])
    pairs = zip(clips[path], clips[digest], strict=True)
    keys = [_key(settings, _state(root, file) if pd.isna(sha256) else sha256) for file, sha256 in pairs]
    return pd.DataFrame({**clips[["clip_id", "video_path", "audio_path"]], "path": clips[path], "key": keys})


class ClipSequence(Sequence[ClipFiles]):
    """Rows of `wanted_clips` as what a runner takes; a million of them as objects would fill the memory."""

    def __init__(self, clips: pd.DataFrame, root: Path) -> None:
        self._clips, self._root = clips, root
        self._columns = [clips[name].array for name in ("clip_id", "video_path", "audio_path", "key")]

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> ClipFiles: ...
    @overload
    def __getitem__(self, index: slice) -> ClipSequence: ...
    def __getitem__(self, index: int | slice) -> ClipFiles | ClipSequence:
        if isinstance(index, slice):
            return ClipSequence(self._clips.iloc[index], self._root)
        clip_id, video, audio, key = (column[index] for column in self._columns)
        return ClipFiles(clip_id, self._root / video, self._root / audio, key)


def _key(settings: str, content: str) -> str:
    return hashlib.sha256(f"{settings} {content}".encode()).hexdigest()


def _state(root: Path, file: str) -> str:
    """What stands for the content of a file whose digest is unknown."""
    try:
        state = os.stat(root / file)
    except OSError:
        return f"{file} cannot be read"
    return f"{file} {state.st_size} {state.st_mtime_ns}"
