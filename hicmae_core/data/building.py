"""From a raw folder to its manifest: list the clips, look at their files, check ids, labels and folds."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.corpora import corpus_named
from hicmae_core.data.folds import check_folds
from hicmae_core.data.manifest import COLUMN_TYPES, MANIFEST_COLUMNS, check_rejects
from hicmae_core.files import sha256_of
from hicmae_core.progress import progress_bar


class MediaFacts(Protocol):
    """What probing a file tells."""

    @property
    def fps(self) -> float:
        """Mean frames per second."""

    @property
    def num_frames(self) -> int:
        """Video frames."""

    @property
    def duration_seconds(self) -> float:
        """Length of the longest stream."""

    @property
    def has_video(self) -> bool:
        """Whether there is a video stream."""

    @property
    def has_audio(self) -> bool:
        """Whether there is a sound stream."""


ProbeFn = Callable[[Path], MediaFacts]


def build_manifest(
    name: str,
    dataset: DatasetParams,
    root: Path,
    probe_fn: ProbeFn | None,
    num_processes: int,
    max_reject_fraction: float,
) -> pd.DataFrame:
    """List a dataset's clips and look at their files.

    Args:
        name: The dataset's name, for messages.
        dataset: How its folder is read.
        root: Its raw folder.
        probe_fn: Opens a media file, or raises a ValueError with a ``status`` and a ``reason``; it runs in threads.
            None looks only whether files are there and not empty, and leaves the media facts null.
        num_processes: Files looked at at the same time; 0 means one per CPU core.
        max_reject_fraction: Share of clips that may be rejected.

    Returns:
        A row per clip, in the corpus's order, with `MANIFEST_COLUMNS`. A clip whose file or label cannot be used
        has a status other than ``ok``.

    Raises:
        ValueError: If the folder is not there, its table is not usable, two clips share an id, a path leaves the
            folder, folds are not usable (`check_folds`), or too many clips are rejected.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; put the files of dataset {name} there, or link to them")
    rows = corpus_named(dataset.corpus).read(root, dataset)
    _check_ids(rows, root)
    _check_paths(rows, root)
    with ThreadPool(num_processes or os.cpu_count()) as pool:
        pairs = list(zip(rows["video_path"], rows["audio_path"], strict=True))
        looks = pool.imap(lambda pair: _look(root, *pair, probe_fn), pairs, chunksize=8)
        facts = pd.DataFrame(list(progress_bar(looks, total=len(pairs), desc=f"manifest of {name}", unit="clip")))
    manifest = pd.concat([rows.reset_index(drop=True), facts], axis="columns")
    manifest["label"] = manifest["label_name"].map({label: i for i, label in enumerate(dataset.classes)})
    _mark_labels(manifest, dataset)
    manifest = manifest.astype({key: kind for key, kind in COLUMN_TYPES.items() if key in manifest})
    manifest = manifest.reindex(columns=[*MANIFEST_COLUMNS, *(f"target_{target}" for target in dataset.targets)])
    check_rejects(manifest, max_reject_fraction, f"manifest of {name}")
    if dataset.task != "unlabelled":
        check_folds(manifest[manifest["status"] == "ok"], dataset)
    return manifest


def _check_ids(rows: pd.DataFrame, root: Path) -> None:
    if rows["clip_id"].isna().any() or rows["video_path"].isna().any():
        raise ValueError(f"{root}: {rows[['clip_id', 'video_path']].isna().any(axis=1).sum()} rows lack an id or file")
    twice = rows[rows["clip_id"].duplicated(keep=False)].groupby("clip_id")["video_path"].agg(", ".join)
    if len(twice):
        names = "; ".join(f"{clip_id} is {files}" for clip_id, files in twice.head(5).items())
        raise ValueError(f"{root}: {len(twice)} clip ids are not unique; give each clip its own ({names})")


def _check_paths(rows: pd.DataFrame, root: Path) -> None:
    for column in ("video_path", "audio_path"):
        for path in rows[column]:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"{root}: {path} lies outside this folder; name files relative to it, without `..`")


def _mark_labels(manifest: pd.DataFrame, dataset: DatasetParams) -> None:
    """Reject the clips that are sound but whose label is unknown."""
    ok = manifest["status"] == "ok"
    if dataset.task == "classification":
        bad = ok & manifest["label"].isna()
        names = manifest.loc[bad, "label_name"].fillna("(none)")
        manifest.loc[bad, "reason"] = "label " + names + " is not among " + ", ".join(dataset.classes)
        manifest.loc[bad, "status"] = "unknown_label"
    for target in dataset.targets:
        bad = ok & manifest[f"target_{target}"].isna()
        manifest.loc[bad, ["status", "reason"]] = ["unknown_label", f"target {target} is not a number"]


def _look(root: Path, video_path: str, audio_path: str, probe_fn: ProbeFn | None) -> dict[str, Any]:
    """Status and media facts of one clip."""
    facts: dict[str, Any] = {"fps": None, "num_frames": None, "duration_seconds": None, "sha256": None}
    for path in dict.fromkeys((video_path, audio_path)):
        if not (root / path).is_file():
            return facts | {"status": "missing", "reason": f"{path}: no such file"}
        if (root / path).stat().st_size == 0:
            return facts | {"status": "zero_byte", "reason": f"{path}: the file is empty"}
    if probe_fn is None:
        return facts | {"status": "ok", "reason": ""}
    facts["sha256"] = sha256_of(root / video_path)
    try:
        video = probe_fn(root / video_path)
        audio = video if audio_path == video_path else probe_fn(root / audio_path)
    except ValueError as error:
        return facts | {
            "status": getattr(error, "status", "unreadable"),
            "reason": getattr(error, "reason", str(error)),
        }
    facts |= {"fps": video.fps, "num_frames": video.num_frames, "duration_seconds": video.duration_seconds}
    if not video.has_video:
        return facts | {"status": "no_video", "reason": f"{video_path}: has no video stream"}
    if not audio.has_audio:
        return facts | {"status": "no_sound", "reason": f"{audio_path}: has no sound stream"}
    return facts | {"status": "ok", "reason": ""}
