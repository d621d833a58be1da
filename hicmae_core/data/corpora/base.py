"""What a corpus adapter is, and the one for corpora that come with a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from hicmae_core.config import DatasetParams

_NEEDED = {
    "classification": ("clip_id", "video_path", "label_name", "test_fold"),
    "regression": ("clip_id", "video_path", "test_fold"),
    "unlabelled": ("clip_id", "video_path"),
}


class Corpus(Protocol):
    """Reads a raw folder's names and labels; looks into no media file."""

    @property
    def name(self) -> str:
        """The adapter's name in params.yaml."""

    @property
    def description(self) -> str:
        """A few words on what it reads."""

    def read(self, root: Path, dataset: DatasetParams) -> pd.DataFrame:
        """List a corpus.

        Args:
            root: The raw folder.
            dataset: Names of the classes or targets.

        Returns:
            A row per clip: ``clip_id``; ``video_path`` and ``audio_path`` relative to `root`, the same where one
            file holds both; ``subject``, null where unknown; ``label_name`` in the words of `dataset.classes`;
            ``test_fold``, the 1-based fold in which the clip is tested, null for never; and a float
            ``target_<name>`` for each of `dataset.targets`.

        Raises:
            ValueError: If the folder does not hold what the adapter reads.
        """


@dataclass(frozen=True)
class TableCorpus:
    """A corpus listed in one CSV file.

    Attributes:
        name: The adapter's name.
        description: A few words on what it reads.
        file: The CSV file in the raw folder; targets are columns by their own names.
        columns: The file's name of each manifest column; those that a task does not need may be absent.
    """

    name: str
    description: str
    file: str
    columns: Mapping[str, str]

    def read(self, root: Path, dataset: DatasetParams) -> pd.DataFrame:
        """See `Corpus.read`."""
        path = root / self.file
        table = read_table(path)
        needed = [self.columns.get(column, column) for column in _NEEDED[dataset.task]] + list(dataset.targets)
        missing = [column for column in needed if column not in table]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; there are: {', '.join(table.columns)}")
        rows = pd.DataFrame({ours: table.get(theirs) for ours, theirs in self.columns.items()}, index=table.index)
        for name in dataset.targets:
            rows[f"target_{name}"] = pd.to_numeric(table[name], errors="coerce")
        rows = rows.reindex(columns=[*dict.fromkeys(["audio_path", "subject", "label_name", "test_fold", *rows])])
        rows["audio_path"] = rows["audio_path"].astype("str").fillna(rows["video_path"])
        rows["test_fold"] = _whole_numbers(rows["test_fold"], path)
        return rows


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file as text; empty cells are null.

    Raises:
        ValueError: If there is no such file, or it is not a CSV file with rows.
    """
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; is this the right folder and corpus?") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8: {error}") from None
    if table.empty:
        raise ValueError(f"{path}: has no rows")
    return table


def _whole_numbers(values: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = values[(values.notna() & numbers.isna()) | (numbers % 1 != 0) & numbers.notna()]
    if len(wrong):
        raise ValueError(f"{path}: folds are whole numbers from 1, not {wrong.iloc[0]!r}")
    return numbers.astype("Int64")
