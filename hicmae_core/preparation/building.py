"""From a raw folder to its manifest: list the clips, inspect their files, check ids, labels, folds and counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus
from hicmae_core.corpora.listing import Folder
from hicmae_core.corpora.published import differences
from hicmae_core.corpora.registry import corpus_named, published_counts
from hicmae_core.corpora.tables import did_you_mean
from hicmae_core.files import IMAGE_KINDS, MAX_STAND_IN_BYTES, START_BYTES, stand_in
from hicmae_core.media.frame_folder import inspect_folder
from hicmae_core.media.opening import MAX_FRAME_RATE, MediaError
from hicmae_core.preparation.probing import ProbeFn, probed
from hicmae_core.store.folds import check_folds
from hicmae_core.store.manifest import COLUMN_TYPES, MANIFEST_COLUMNS, check_rejects

_UNFINISHED = (".part", ".crdownload", ".partial", ".download", ".aria2", ".!qB", ".tmp")
"""What browsers and other programs add to the name of a file while they download it."""
_MAX_ID_LENGTH = 1000
"""As long as any path is in practice; a longer clip id is a broken table."""

TellFn = Callable[[str], object]


def build_manifest(
    name: str,
    dataset: DatasetParams,
    root: Path,
    probe_fn: ProbeFn | None,
    num_processes: int,
    max_reject_fraction: float,
    log_line: TellFn = print,
) -> pd.DataFrame:
    """List a dataset's clips and look at their files.

    Args:
        name: The dataset's name, for messages.
        dataset: How its folder is read.
        root: Its raw folder.
        probe_fn: Opens a media file, or raises a ValueError with a ``status`` and a ``reason``; it runs in threads.
            None reads names only, and leaves the media facts null.
        num_processes: Files looked at at the same time; 0 means one per CPU core.
        max_reject_fraction: Share of clips that may be rejected; missing files do not count with
            `dataset.allow_incomplete`.
        tell: Is given what a user should read, such as the table of counts that differ from the published ones.

    Returns:
        A row per clip, in the corpus's order, with `MANIFEST_COLUMNS`. A clip whose file or label cannot be used
        has a status other than ``ok``. Clips of classes that the dataset does not use have no row.

    Raises:
        ValueError: If the folder is not there, its labels are not usable, two clips share an id, a path leaves the
            folder, counts differ from the published ones without `dataset.allow_incomplete`, folds are not usable
            (`check_folds`), or too many clips are rejected.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; put the files of dataset {name} there, or link to them")
    corpus, folder = corpus_named(dataset.corpus), Folder(root)
    corpus.check_labelling(dataset.labels)
    rows = corpus.read(folder, dataset).reset_index(drop=True)
    for note in folder.notes:
        log_line(f"{name}: {note}")
    rows = rows if rows.empty else _of_used_classes(rows, corpus, dataset, log_line)
    if rows.empty:
        listed = f"; `hicmae corpora {corpus.name}` shows its layout"
        raise ValueError(
            f"{root}: there are no clips of {corpus.name} ({corpus.description}) in this folder"
            f"{listed if corpus.about else ''}"
        )
    _check_ids(rows, root)
    rows["unit"] = _units(rows, root)
    _check_paths(rows, root)
    rows["fps"] = _declared_rates(rows, dataset, root)
    _check_source(rows, folder, dataset, name, log_line)
    manifest = _typed(_with_status(rows, folder, dataset), dataset)
    _check_counts(manifest, dataset, name, log_line)
    if probe_fn is not None:
        clip_paths = rows.get("clip_path", pd.Series(None, rows.index, dtype="object"))
        manifest = probed(manifest, clip_paths, root, probe_fn, num_processes, name, dataset.modality)
    check_rejects(manifest, max_reject_fraction, f"manifest of {name}", ("missing",) * dataset.allow_incomplete)
    if dataset.task != "unlabelled":
        check_folds(manifest[manifest["status"] == "ok"], dataset)
    return manifest


def _of_used_classes(rows: pd.DataFrame, corpus: Corpus, dataset: DatasetParams, log_line: TellFn) -> pd.DataFrame:
    """Leave out the clips of classes that the corpus has and the dataset does not use."""
    if dataset.task != "classification":
        return rows
    unused = rows["label_name"].isin([label for label in corpus.label_names if label not in dataset.classes])
    if unused.any():
        counts = rows.loc[unused, "label_name"].value_counts()
        which = ", ".join(f"{count} {label}" for label, count in counts.items())
        log_line(f"left out: {unused.sum()} clips of classes that are not among `classes` ({which})")
    return rows[~unused].reset_index(drop=True)


def _check_ids(rows: pd.DataFrame, root: Path) -> None:
    if rows["clip_id"].isna().any() or rows["video_path"].isna().any():
        raise ValueError(f"{root}: {rows[['clip_id', 'video_path']].isna().any(axis=1).sum()} rows lack an id or file")
    _check_names(rows["clip_id"].astype("str"), "clip id", root)
    twice = rows[rows["clip_id"].duplicated(keep=False)].groupby("clip_id")["video_path"].agg(", ".join)
    if len(twice):
        names = "; ".join(f"{clip_id} is {files}" for clip_id, files in twice.head(5).items())
        raise ValueError(f"{root}: {len(twice)} clip ids are not unique; give each clip its own ({names})")


def _check_names(names: pd.Series, what: str, root: Path) -> None:
    odd = names[names.str.contains(r"[\x00-\x1f\x7f]") | (names.str.len() > _MAX_ID_LENGTH)]
    if len(odd):
        problem = f"has control characters or more than {_MAX_ID_LENGTH} letters"
        raise ValueError(f"{root}: {what} {odd.iloc[0][:80]!r} {problem}; give it a plain name")


def _units(rows: pd.DataFrame, root: Path) -> pd.Series:
    """Each clip's unit: what the adapter says, else its own id, which no other clip may have been given as a unit."""
    clip_ids = rows["clip_id"].astype("str")
    if "unit" not in rows:
        return clip_ids
    given = rows["unit"].astype("str").str.strip().replace("", None)
    _check_names(given.dropna(), "unit", root)
    mixed = rows[given.isna() & clip_ids.isin(given.dropna())]
    if len(mixed):
        name = mixed["clip_id"].iloc[0]
        others = ", ".join(clip_ids[given == name].head(5))
        raise ValueError(f"{root}: clip {name} has no unit, but is the unit of {others}; give clip {name} a unit, too")
    return given.fillna(clip_ids)


def _check_paths(rows: pd.DataFrame, root: Path) -> None:
    for path in {*rows["video_path"].tolist(), *rows["audio_path"].tolist()}:
        if path.startswith("/") or (".." in path and ".." in path.split("/")):
            raise ValueError(f"{root}: {path} lies outside this folder; name files relative to it, without `..`")


def _declared_rates(rows: pd.DataFrame, dataset: DatasetParams, root: Path) -> pd.Series:
    """Frames per second of face frames as the corpus's table has it, or else the parameter."""
    given = rows.get("fps", pd.Series(None, rows.index, dtype="object"))
    rates = pd.to_numeric(given, errors="coerce").astype("float64")
    wrong = given[given.notna() & ~rates.between(0, MAX_FRAME_RATE, inclusive="right")]
    if len(wrong):
        clip_id = rows.loc[wrong.index[0], "clip_id"]
        raise ValueError(f"{root}: fps of clip {clip_id} is a number of frames per second, not {wrong.iloc[0]!r}")
    return rates.fillna(dataset.fps) if dataset.fps else rates


def _check_source(rows: pd.DataFrame, folder: Folder, dataset: DatasetParams, name: str, log_line: TellFn) -> None:
    """Say that faces come from folders of frames, unless `dataset.video` asks for the other kind."""
    is_folder = pd.Series([folder.num_images(path) is not None for path in rows["video_path"].tolist()], rows.index)
    there = is_folder | pd.Series([folder.holds(path) for path in rows["video_path"].tolist()], rows.index)
    if dataset.video is not None:
        wrong = rows[there & (is_folder == (dataset.video == "clips"))]
        if len(wrong):
            clip_id, path = wrong.iloc[0][["clip_id", "video_path"]]
            kind = "a folder of frames" if dataset.video == "clips" else "a video file"
            raise ValueError(
                f"{folder.root}: dataset.{name}.video is {dataset.video}, but the video of {clip_id} is {kind}, "
                f"{path}; change the one or the other"
            )
    needless = rows["fps"].notna() & ~is_folder
    if needless.any():
        log_line(
            f"{name}: fps is not used for {needless.sum()} clips whose video is a file, which tells its own frame rate"
        )
        rows.loc[needless, "fps"] = None
    if not is_folder.any():
        return
    of_clips = rows.get("clip_path", pd.Series(None, rows.index))[is_folder].notna()
    both = f"; for {of_clips.sum()} of them a video file is there, too, which dataset.{name}.video: clips would take"
    log_line(
        f"{name}: the video of {is_folder.sum()} clips is a folder of face frames, such as "
        f"{rows['video_path'][is_folder].iloc[0]}{both if of_clips.any() else ''}"
    )


def _with_status(rows: pd.DataFrame, folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """Class ids, and the status of every clip as far as names and labels tell."""
    manifest = rows.reindex(columns=[*dict.fromkeys([*rows, "status", "reason"])])
    manifest = manifest.astype({"status": "object", "reason": "object"})
    ids = {label: i for i, label in enumerate(dataset.classes)}
    manifest["label"] = manifest["label_name"].map(ids)
    num_images = pd.Series([folder.num_images(path) for path in manifest["video_path"].tolist()], dtype="Int64")
    is_folder = num_images.notna()
    _mark(
        manifest,
        (num_images == 0).fillna(False),
        "no_video",
        manifest["video_path"] + f": this folder itself holds no image ({IMAGE_KINDS})",
    )
    soundless = is_folder & (manifest["audio_path"] == manifest["video_path"])
    _mark(
        manifest, soundless, "no_sound", manifest["video_path"] + ": is a folder of frames; name a file with the audio"
    )
    for column in ("video_path", "audio_path"):
        absence = manifest[column].map({path: _absence(folder, path) for path in manifest[column].unique()})
        if column == "video_path":
            frames = {path: _absence_of_frames(folder, path) for path in manifest.loc[is_folder, column]}
            absence = absence.mask(is_folder, manifest[column].map(frames))
            other = (absence != "") & rows.get("clip_path", pd.Series(None, rows.index)).notna()
            absence = absence.mask(other, absence + ", but a video file, which `video: clips` would take")
        _mark(manifest, absence != "", "missing", manifest[column] + ": " + absence)
    if dataset.task == "classification":
        reason = _unlisted("label", manifest["label_name"], dataset.classes)
        _mark(manifest, manifest["label"].isna(), "unknown_label", reason)
    for target in dataset.targets:
        column, words = f"target_{target}", manifest[f"target_{target}"]
        manifest[column] = words.map(ids) if dataset.classes else _finite(words)
        reason = _unlisted(f"target {target}", words, dataset.classes)
        _mark(manifest, manifest[column].isna(), "unknown_label", reason)
    return manifest.fillna({"status": "ok", "reason": ""})


def _absence(folder: Folder, path: str) -> str:
    """Why a file is not there, or is not the file itself; empty if it is, as far as can be told without decoding it.

    Only small files are opened, so that of the others only the size is read.
    """
    place = os.path.join(folder.root, path)
    if folder.holds(path):
        try:
            if not 0 < os.stat(place).st_size <= MAX_STAND_IN_BYTES:
                return ""
            with open(place, "rb") as file:
                return stand_in(file.read(START_BYTES))
        except OSError:  # decoding it reports why
            return ""
    if os.path.islink(place) and "/annex/objects/" in os.readlink(place):
        return "is a git-annex link whose content is not here: run `git annex get`"
    if folder.holds(f"{path}.dvc"):
        return f"no such file, but {path}.dvc is there: run `dvc pull`"
    unfinished = next((path + ending for ending in _UNFINISHED if folder.holds(path + ending)), None)
    return f"no such file, but {unfinished} is there: its download did not finish" if unfinished else "no such file"


def _absence_of_frames(folder: Folder, path: str) -> str:
    """As `_absence`, of a folder of images: one of them is inspected, and only if it is not the file itself, all."""
    image = folder.an_image(path)
    if not image or not _absence(folder, image):
        return ""
    try:
        inspect_folder(folder.root / path)
    except MediaError as error:
        return error.reason
    return ""


def _finite(words: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(words, errors="coerce")
    return numbers.where(np.isfinite(numbers))


def _unlisted(what: str, words: pd.Series, names: Sequence[str]) -> pd.Series:
    """Why a label or target of each clip is refused, if it is."""
    known = ", ".join(names) or "the numbers"

    def reason(word: str) -> str:
        return f"{what} {word} is not among {known}{did_you_mean(word, names)}"

    words = words.astype("object").fillna("(none)").astype("str")
    return words.map({word: reason(word) for word in words.unique()})


def _mark(manifest: pd.DataFrame, bad: pd.Series, status: str, reason: pd.Series) -> None:
    """Give the clips in `bad` that have no status yet one."""
    bad = bad & manifest["status"].isna()
    manifest.loc[bad, "status"] = status
    manifest.loc[bad, "reason"] = reason[bad]


def _typed(manifest: pd.DataFrame, dataset: DatasetParams) -> pd.DataFrame:
    targets = {f"target_{target}": "Int64" if dataset.classes else "float64" for target in dataset.targets}
    return manifest.reindex(columns=[*MANIFEST_COLUMNS, *targets]).astype({**COLUMN_TYPES, **targets})


def _check_counts(manifest: pd.DataFrame, dataset: DatasetParams, name: str, log_line: TellFn) -> None:
    """Compare the clips that are there with the published counts."""
    table = differences(manifest[manifest["status"] == "ok"], published_counts(dataset))
    if table.empty:
        return
    sure = table["confirmed"].astype(bool)
    for part, kind in ((table[sure], "published"), (table[~sure], "probably published, but unconfirmed,")):
        if len(part):
            text = part.drop(columns="confirmed").to_string(index=False)
            log_line(f"{name}: clips per fold and class that differ from the {kind} counts\n{text}")
    if sure.any() and not dataset.allow_incomplete:
        raise ValueError(
            f"manifest of {name}: {sure.sum()} counts differ from the published ones (see the table); complete the "
            f"files, or go on with what is there: --allow-incomplete, or dataset.{name}.allow_incomplete: true"
        )
