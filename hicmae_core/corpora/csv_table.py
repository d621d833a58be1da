"""Corpora that come with a table: any corpus, described by a ``manifest.csv`` in its folder."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from hicmae_core.config import TABLE_COLUMNS, DatasetParams
from hicmae_core.corpora.base import Corpus, ReadFn
from hicmae_core.corpora.listing import Folder
from hicmae_core.corpora.tables import MISSING_WORDS, Table, read_table

_log = logging.getLogger(__name__)

TABLE = "manifest.csv"
_NEEDED = {
    "classification": ("clip_id", "video_path", "label_name", "test_fold"),
    "multi_classification": ("clip_id", "video_path", "test_fold"),
    "regression": ("clip_id", "video_path", "test_fold"),
    "unlabelled": ("clip_id", "video_path"),
}
_PATHS = ("video_path", "audio_path")
_SYNONYMS = {
    "clip_id": ("id", "clip", "clip_name", "utterance_id"),
    "video_path": ("video", "path", "file", "filename", "file_path", "film"),
    "audio_path": ("audio", "sound", "wav", "audio_file"),
    "subject": ("speaker", "actor", "participant", "person", "subject_id", "speaker_id", "actor_id", "participant_id"),
    "unit": ("unit_id", "recording", "recording_id"),
    "group": ("sex", "gender", "age_group"),
    "test_fold": ("fold", "split", "cv_fold", "fold_id", "partition"),
    "fps": ("fps", "frame_rate", "frames_per_second"),
    "label_name": ("label", "emotion", "class", "category", "expression", "target"),
}
"""What else people call these columns, for hints."""
_FOLD = re.compile(r"[0-9]+(\.0*)?")


def table_reader(file: str, columns: Mapping[str, str]) -> ReadFn:
    """Reader of a corpus that is listed in one CSV file.

    Args:
        file: The CSV file in the raw folder; targets are columns by their own names.
        columns: The file's name of each manifest column; those that a task does not need may be absent.
    """

    def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
        path = folder.root / file
        needed = [columns.get(column, column) for column in _NEEDED[dataset.task]] + list(dataset.targets)
        if dataset.modality == "audio":  # a speech corpus has no videos
            needed.remove(columns["video_path"])
        cells, unused = _read(path, needed, columns)
        if unused:
            folder.notes.append(f"{file}: columns that are not used: {', '.join(unused)}")
        rows = _manifest_columns(cells, columns, path, folder)
        for name in dataset.targets:
            rows[f"target_{name}"] = cells[name].str.strip()
        if dataset.modality == "audio":
            rows["video_path"] = _sounds(rows, path)
        rows = rows.reindex(columns=[*dict.fromkeys(["audio_path", "subject", "label_name", "test_fold", *rows])])
        rows["audio_path"] = rows["audio_path"].astype("str").fillna(rows["video_path"])
        return rows

    return read


def proposed_dataset(folder: Path) -> DatasetParams:
    """How a folder with a manifest.csv is read: its labels are the classes, its highest fold the number of folds.

    Raises:
        ValueError: If the table cannot be used (`read_table`), or has labels without folds or folds without labels.
    """
    path = folder / TABLE
    cells, unused = _read(path, ["clip_id", "video"], TABLE_COLUMNS)
    others = f"; there are further columns: {', '.join(unused)}" if unused else ""
    if "label" not in cells:
        if "fold" in cells or any("`label`" in name or "`fold`" in name for name in unused):
            raise ValueError(
                f"{path}: no column label{others}. For targets, or to pre-train without labels, write the "
                "entry in params.yaml (docs/own-dataset.md)"
            )
        return DatasetParams(corpus=CSV.name, task="unlabelled")
    if "fold" not in cells:
        raise ValueError(
            f"{path}: labels need a column fold, the cross-validation fold in which a clip is tested{others}"
        )
    folds = sorted({int(fold) for fold in _folds(cells["fold"], path).dropna()})
    if folds != [*range(1, len(folds) + 1)] or not folds:
        there = ", ".join(map(str, folds)) or "none"
        raise ValueError(f"{path}: folds are numbered 1, 2, 3 ... without a gap; there are: {there}")
    labels = sorted(cells["label"].dropna().str.strip().unique())
    doubtful = [label for label in labels if label.lower() in MISSING_WORDS]
    if doubtful:
        _log.warning("%s: not taken for classes: %s; add them to `classes` if they are", path, ", ".join(doubtful))
    classes = tuple(label for label in labels if label not in doubtful)
    try:
        return DatasetParams(corpus=CSV.name, classes=classes, num_folds=len(folds))
    except ValidationError as error:
        raise ValueError(f"{path}: " + "; ".join(problem["msg"] for problem in error.errors())) from None


def _read(path: Path, needed: list[str], columns: Mapping[str, str]) -> Table:
    synonyms = {theirs: (ours, *_SYNONYMS.get(ours, ())) for ours, theirs in columns.items()}
    optional = [name for name in columns.values() if name not in needed]
    return read_table(path, needed, optional, synonyms)


def _manifest_columns(cells: pd.DataFrame, columns: Mapping[str, str], path: Path, folder: Folder) -> pd.DataFrame:
    """The manifest's columns that the table has; outer space belongs to a path alone, where there is such a file."""
    rows = {ours: cells[theirs] for ours, theirs in columns.items() if theirs in cells}
    for ours, column in rows.items():
        if ours in _PATHS:
            rows[ours] = column.map(lambda path: _plain(path, folder), na_action="ignore")
        else:
            rows[ours] = column.str.strip()
    if "test_fold" in rows:
        rows["test_fold"] = _folds(rows["test_fold"], path)
    for name in ("subject", "unit", "group"):
        if name in rows:
            rows[name] = rows[name].map(_one_spelling, na_action="ignore").astype("str")
            _check_known(rows[name], name, path)
    if "subject" in rows:  # one person, also where the spellings of the name differ in case
        rows["subject"] = rows["subject"].groupby(rows["subject"].str.casefold()).transform("first")
    return pd.DataFrame(rows)


def _plain(path: str, folder: Folder) -> str:
    if folder.holds(path):
        return path
    path = path.rstrip("/") or path
    return path if folder.num_images(path) is not None else path.strip().rstrip("/") or path


def _sounds(rows: pd.DataFrame, path: Path) -> pd.Series:
    """The files with the voices: audio files, or videos where there are none."""
    columns = [rows[column] for column in ("audio_path", "video_path") if column in rows]
    if not columns:
        raise ValueError(f"{path}: no column audio, which names the files with the voices that the dataset takes")
    return columns[0].fillna(columns[-1])


def _one_spelling(name: str) -> str:
    """A name that looks the same in each of its codings and with each kind of space, in one of them."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def _folds(values: pd.Series, path: Path) -> pd.Series:
    """Folds as whole numbers, null where the cell is empty; ``2.0``, as programs write it, is 2."""
    values = values.str.strip()
    wrong = values[values.notna() & ~values.fillna("").str.fullmatch(_FOLD)]
    if len(wrong):
        raise ValueError(
            f"{path}, line {wrong.index[0]}: folds are whole numbers from 1, not {wrong.iloc[0]!r}; "
            "leave the cell empty for a clip that is never tested"
        )
    return pd.to_numeric(values).astype("Int64")


def _check_known(names: pd.Series, column: str, path: Path) -> None:
    """A word for a missing value would be one speaker, or one unit, with many clips."""
    wrong = names[names.str.lower().isin(MISSING_WORDS)]
    if len(wrong):
        meanings = {"subject": "the speaker is unknown", "unit": "a clip is scored by itself"}
        meaning = meanings.get(column, "it is unknown")
        raise ValueError(
            f"{path}, line {wrong.index[0]}: {column} {wrong.iloc[0]!r} reads as a missing value; leave the cell empty "
            f"where {meaning}, or write another name"
        )


CSV = Corpus(
    name="csv",
    description="any corpus with a manifest.csv: clip_id, video, audio, subject, unit, group, fold, labels or targets",
    read=table_reader(TABLE, TABLE_COLUMNS),
)
"""Without ``audio`` the video file holds the audio; without ``subject`` speakers are unknown; without ``unit`` each
clip is scored by itself; results are also reported by ``group``, such as the speaker's sex; ``fold`` is the fold in
which a clip is tested, empty for never; ``fps`` is the rate of face frames, if no video file tells it."""
