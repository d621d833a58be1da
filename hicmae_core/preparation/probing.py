"""What is in the files of the clips of a manifest: frame rate, length, digests, or what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hicmae_core.config import Modality
from hicmae_core.files import sha256_of
from hicmae_core.media.decoding import MediaInfo
from hicmae_core.media.frame_folder import frame_rate, inspect_folder
from hicmae_core.progress import progress_bar
from hicmae_core.store.manifest import COLUMN_TYPES

ProbeFn = Callable[[Path], MediaInfo]
_FACTS = ("fps", "num_frames", "duration_seconds", "sha256", "audio_sha256", "status", "reason")


def probed(
    manifest: pd.DataFrame,
    clip_paths: pd.Series,
    root: Path,
    probe_fn: ProbeFn,
    num_processes: int,
    name: str,
    modality: Modality = "both",
) -> pd.DataFrame:
    """Open the files of the clips with the status ``ok``.

    Args:
        manifest: A row per clip; the media facts are filled in.
        clip_paths: Where the video is a folder of frames, the video file they were taken from; null if unknown.
        root: The raw folder.
        probe_fn: As of `building.build_manifest`.
        num_processes: Files opened at the same time; 0 means one per CPU core.
        name: The dataset's name, for the progress bar.
        modality: What is taken of each clip; a file may lack the other.

    Returns:
        The manifest. Whatever is wrong with a clip's files is in its status and reason.
    """
    there = manifest.index[manifest["status"] == "ok"]
    columns = manifest["video_path"], manifest["audio_path"], clip_paths, manifest["fps"]
    clips = [_Files(root, modality, *cells) for cells in zip(*(column[there] for column in columns), strict=True)]
    with ThreadPool(num_processes or os.cpu_count()) as pool:
        found = pool.imap(lambda clip: _inspect(clip, probe_fn), clips, chunksize=8)
        facts = list(progress_bar(found, total=len(clips), desc=f"manifest of {name}", unit="clip"))
    table = pd.DataFrame(facts, index=there, columns=list(_FACTS)).astype({key: COLUMN_TYPES[key] for key in _FACTS})
    for fact in _FACTS:  # one by one: pandas fails at Int64 with nulls among several types
        manifest.loc[there, fact] = table[fact]
    return manifest


class _Files(NamedTuple):
    """A clip's files below `root`, and what was declared about them."""

    root: Path
    modality: Modality
    video_path: str
    audio_path: str
    clip_path: str | float | None
    fps: float


def _inspect(clip: _Files, probe_fn: ProbeFn) -> dict[str, Any]:
    """Status and media facts of one clip; whatever is wrong with its files stands in its row."""
    try:
        return _facts(clip, probe_fn)
    except OSError as error:
        reason = f"{error.filename}: cannot be read: {error.strerror}"
        return {**dict.fromkeys(_FACTS), "status": "unreadable", "reason": reason}


def _facts(clip: _Files, probe_fn: ProbeFn) -> dict[str, Any]:
    root, modality, video_path, audio_path, *_ = clip
    facts: dict[str, Any] = dict.fromkeys(_FACTS)
    if os.path.isdir(root / video_path):
        return _facts_of_frames(clip, probe_fn)
    for path in dict.fromkeys((video_path, audio_path)):
        if (root / path).stat().st_size == 0:
            return facts | {"status": "zero_byte", "reason": f"{path}: the file is empty"}
    facts["sha256"] = sha256_of(root / video_path)
    facts["audio_sha256"] = facts["sha256"] if audio_path == video_path else sha256_of(root / audio_path)
    try:
        video = probe_fn(root / video_path)
        audio = video if audio_path == video_path else probe_fn(root / audio_path)
    except ValueError as error:
        return facts | _problem(error)
    facts |= {"fps": video.fps, "num_frames": video.num_frames, "duration_seconds": video.duration_seconds}
    if not video.has_video and modality != "audio":
        return facts | {"status": "no_video", "reason": f"{video_path}: has no video stream"}
    if not audio.has_audio and modality != "video":
        return facts | {"status": "no_sound", "reason": f"{audio_path}: has no audio stream"}
    return facts | {"status": "ok", "reason": ""}


def _facts_of_frames(clip: _Files, probe_fn: ProbeFn) -> dict[str, Any]:
    """As `_facts`, of a folder of face frames and a file with audio."""
    facts: dict[str, Any] = dict.fromkeys(_FACTS)
    folder, audio_file = clip.root / clip.video_path, clip.root / clip.audio_path
    if audio_file.stat().st_size == 0:
        return facts | {"status": "zero_byte", "reason": f"{clip.audio_path}: the file is empty"}
    try:
        num_frames, facts["sha256"] = inspect_folder(folder)
        facts["audio_sha256"] = sha256_of(audio_file)
        audio, video = probe_fn(audio_file), None
        if isinstance(clip.clip_path, str) and clip.clip_path != clip.audio_path:
            with suppress(ValueError):  # a damaged one has no rate, and is needed for nothing else
                video = probe_fn(clip.root / clip.clip_path)
        fps = frame_rate(folder, num_frames, audio, video, None if pd.isna(clip.fps) else clip.fps)
    except ValueError as error:
        return facts | _problem(error)
    facts |= {"fps": fps, "num_frames": num_frames, "duration_seconds": max(num_frames / fps, audio.duration_seconds)}
    if not audio.has_audio:
        return facts | {"status": "no_sound", "reason": f"{clip.audio_path}: has no audio stream"}
    return facts | {"status": "ok", "reason": ""}


def _problem(error: ValueError) -> dict[str, str]:
    return {"status": getattr(error, "status", "unreadable"), "reason": getattr(error, "reason", str(error))}
