"""The clips that are to be prepared, each with the key of everything that determines its rows."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pandas as pd

from hicmae_core.data.pool import ClipFiles
from hicmae_core.media.frame_folder import folder_state
from hicmae_core.media.opening import MediaError


def wanted_clips(manifest: pd.DataFrame, root: Path, settings: str, path: str, digest: str) -> pd.DataFrame:
    """The clips of a manifest whose status is ``ok``.

    Args:
        manifest: The clips.
        root: Folder that the manifest's paths are relative to.
        settings: Fingerprint of all that determines a clip's rows but its file.
        path: The column of the file that determines a clip's rows.
        digest: The column of that file's SHA-256; where it is null, size and time of the file take its place.

    Returns:
        ``clip_id, video_path, audio_path, path, fps`` and ``key``, sorted by clip id. A clip without a sound file of
        its own has its video's. Face frames have no rate in their files: the manifest's determines the rows, or the
        file with the audio, where the manifest has none.

    Raises:
        ValueError: If a clip id comes twice, or no clip of the manifest is ``ok``.
    """
    clips = manifest[manifest["status"] == "ok"].sort_values("clip_id", ignore_index=True)
    if clips.empty and len(manifest):
        raise ValueError("nothing to prepare: the manifest has no clip with status ok")
    twice = clips["clip_id"][clips["clip_id"].duplicated()]
    if len(twice):
        raise ValueError(f"clip id {twice.iloc[0]!r} comes twice; clip ids must be unique")
    clips["audio_path"] = clips["audio_path"].fillna(clips["video_path"])
    rates = clips["fps"] if "fps" in clips else pd.Series(float("nan"), clips.index)
    cells = zip(clips[path], clips[digest], rates, clips["audio_path"], strict=True)
    keys = pd.Series([_key(settings, _content(root, *row)) for row in cells], clips.index, dtype="str")
    columns = clips[["clip_id", "video_path", "audio_path"]]
    return pd.DataFrame({**columns, "path": clips[path], "fps": rates, "key": keys})


class ClipSequence(Sequence[ClipFiles]):
    """Rows of `wanted_clips` as what a runner takes; a million of them as objects would fill the memory."""

    def __init__(self, clips: pd.DataFrame, root: Path) -> None:
        self._clips, self._root = clips, root
        self._columns = [clips[name].array for name in ("clip_id", "video_path", "audio_path", "key", "fps")]

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> ClipFiles: ...
    @overload
    def __getitem__(self, index: slice) -> ClipSequence: ...
    def __getitem__(self, index: int | slice) -> ClipFiles | ClipSequence:
        if isinstance(index, slice):
            return ClipSequence(self._clips.iloc[index], self._root)
        clip_id, video, audio, key, fps = (column[index] for column in self._columns)
        return ClipFiles(clip_id, self._root / video, self._root / audio, key, None if pd.isna(fps) else float(fps))


def _key(settings: str, content: str) -> str:
    return hashlib.sha256(f"{settings} {content}".encode()).hexdigest()


def _content(root: Path, file: str, sha256: str | None, fps: float, audio: str) -> str:
    """What stands for all that a clip's rows depend on but the settings."""
    content = _state(root, file) if pd.isna(sha256) else str(sha256)
    if not pd.isna(fps):
        return f"{content} {fps}"
    return f"{content} {_state(root, audio)}" if pd.isna(sha256) and os.path.isdir(root / file) else content


def _state(root: Path, file: str) -> str:
    """What stands for the content of a file, or of a folder of frames, whose digest is unknown."""
    try:
        state = os.stat(root / file)
        if stat.S_ISDIR(state.st_mode):
            return f"{file} {folder_state(root / file)}"
    except (OSError, MediaError):
        return f"{file} cannot be read"
    return f"{file} {state.st_size} {state.st_mtime_ns}"
