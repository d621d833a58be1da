"""Corpora that come with a table: any corpus, described by a ``manifest.csv`` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.corpora.base import Corpus, ReadFn
from hicmae_core.data.corpora.listing import Folder
from hicmae_core.data.corpora.tables import read_table

_NEEDED = {
    "classification": ("clip_id", "video_path", "label_name", "test_fold"),
    "multi_classification": ("clip_id", "video_path", "test_fold"),
    "regression": ("clip_id", "video_path", "test_fold"),
    "unlabelled": ("clip_id", "video_path"),
}


def table_reader(file: str, columns: Mapping[str, str]) -> ReadFn:
    """Reader of a corpus that is listed in one CSV file.

    Args:
        file: The CSV file in the raw folder; targets are columns by their own names.
        columns: The file's name of each manifest column; those that a task does not need may be absent.
    """

    def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
        path = folder.root / file
        table = read_table(path)
        needed = [columns.get(column, column) for column in _NEEDED[dataset.task]] + list(dataset.targets)
        missing = [column for column in needed if column not in table]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; there are: {', '.join(table.columns)}")
        rows = pd.DataFrame({ours: table.get(theirs) for ours, theirs in columns.items()}, index=table.index)
        for name in dataset.targets:
            rows[f"target_{name}"] = table[name]
        rows = rows.reindex(columns=[*dict.fromkeys(["audio_path", "subject", "label_name", "test_fold", *rows])])
        rows["audio_path"] = rows["audio_path"].astype("str").fillna(rows["video_path"])
        rows["test_fold"] = _whole_numbers(rows["test_fold"], path)
        return rows

    return read


def _whole_numbers(values: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = values[(values.notna() & numbers.isna()) | (numbers % 1 != 0) & numbers.notna()]
    if len(wrong):
        raise ValueError(f"{path}: folds are whole numbers from 1, not {wrong.iloc[0]!r}")
    return numbers.astype("Int64")


CSV = Corpus(
    name="csv",
    description="any corpus listed in a manifest.csv: clip_id, video, audio, subject, fold, label or target columns",
    read=table_reader(
        "manifest.csv",
        {
            "clip_id": "clip_id",
            "video_path": "video",
            "audio_path": "audio",
            "subject": "subject",
            "test_fold": "fold",
            "label_name": "label",
        },
    ),
)
"""Without ``audio`` the video file holds the sound; without ``subject`` speakers are unknown; ``fold`` is the fold
in which a clip is tested, empty for never."""
