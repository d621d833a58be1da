"""Reading label files, with errors that name the file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd

T = TypeVar("T")


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
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path}: its rows have more cells than its header")
    if table.empty:
        raise ValueError(f"{path}: has no rows")
    return table


def read_columns(path: Path, *columns: str) -> pd.DataFrame:
    """Columns of a CSV file, whatever the case of their names, without empty cells; the index is the line number.

    Raises:
        ValueError: If a column is missing, or a cell empty.
    """
    table = read_table(path)
    theirs = {str(name).strip().lower(): name for name in table.columns}
    missing = [name for name in columns if name.lower() not in theirs]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; there are: {', '.join(map(str, table.columns))}")
    chosen = pd.DataFrame({name: table[theirs[name.lower()]].str.strip() for name in columns})
    chosen.index = pd.RangeIndex(2, len(chosen) + 2)
    empty = chosen.isna().any(axis="columns")
    if empty.any():
        raise ValueError(f"{path}, line {chosen.index[empty][0]}: a cell of {', '.join(columns)} is empty")
    return chosen


def read_lines(path: Path, pattern: re.Pattern[str], example: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Match every line of a text file that is not blank.

    Args:
        path: UTF-8 text.
        pattern: What a whole line must look like.
        example: A good line, for the message.

    Yields:
        Line number from 1, and the match.

    Raises:
        ValueError: At the first line that does not match.
    """
    for number, raw in enumerate(path.read_bytes().splitlines(), start=1):
        line = raw.decode("utf-8-sig", errors="replace").strip()
        if not line:
            continue
        match = pattern.fullmatch(line)
        if match is None:
            raise ValueError(f"{path}, line {number}: expected such as `{example}`, not {line[:80]!r}")
        yield number, match


def look_up(words: Mapping[str, T], word: str, path: Path, line: int) -> T:
    """What a word of a label file stands for.

    Raises:
        ValueError: If it stands for nothing, naming file and line.
    """
    if word not in words:
        raise ValueError(f"{path}, line {line}: {word!r} is not among {', '.join(words)}")
    return words[word]
