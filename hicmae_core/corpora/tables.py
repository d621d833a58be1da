"""Reading label files, with errors that name the file and line."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from hicmae_core.files import archive_kind, stand_in

T = TypeVar("T")

MISSING_WORDS = ("nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nil")
"""What programs write where a value is missing, in lower case; only an empty cell means that here."""
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_ALIKE = 0.8
"""Similarity from which one name is taken for a misspelling of another; for hints only."""


class Table(NamedTuple):
    """What `read_table` read.

    Attributes:
        cells: The wanted columns that are there, under the names that were wanted. Text as written; a
            cell of nothing but space is null. The index is the line number.
        unused: The file's other columns, each with a hint if it may be meant for one that is absent.
    """

    cells: pd.DataFrame
    unused: list[str]


def read_table(
    path: Path, needed: Sequence[str], optional: Sequence[str] = (), synonyms: Mapping[str, Sequence[str]] | None = None
) -> Table:
    """Read a CSV file in UTF-8. Case, outer space and quotes of a column's name do not matter.

    Args:
        path: The file.
        needed: Columns that must be there.
        optional: Columns that are read if they are there.
        synonyms: What else people call a column, for hints; such a column is never taken for the one that is meant.

    Raises:
        ValueError: If it is no such file or has no rows, a needed column is absent, two columns have the name of one,
            or a line has more or fewer cells than the header.
    """
    records = _records(path)
    _, header = next(records)
    first = next(records, None)
    if first is None:
        raise ValueError(f"{path}: has no rows")
    places = _places(path, header, [*needed, *optional])
    absent = [name for name in (*needed, *optional) if name not in places]
    others = [name for i, name in enumerate(header) if i not in places.values() and name.strip()]
    unused = [name.strip() + _meant_for(name, absent, synonyms or {}) for name in others]
    missing = [name for name in needed if name in absent]
    if missing:
        separator = next((word for sign, word in _SEPARATORS.items() if sign in header[0]), None)
        if separator and len(header) == 1:
            raise ValueError(f"{path}: its columns are separated by {separator}; save it as CSV with commas")
        known = ", ".join([*(header[place].strip() for place in places.values()), *unused])
        raise ValueError(f"{path}: no column {', '.join(missing)}; there are: {known}")
    lines, rows = [], []
    for line, record in chain([first], records):
        if len(record) < len(header) or any(cell.strip() for cell in record[len(header) :]):
            raise ValueError(f"{path}, line {line}: has {len(record)} cells, but the header has {len(header)}")
        lines.append(line)
        rows.append([record[place] if record[place].strip() else None for place in places.values()])
    return Table(pd.DataFrame(rows, index=lines, columns=list(places), dtype="str"), unused)


def read_columns(path: Path, *columns: str) -> pd.DataFrame:
    """Columns of a CSV file, all of them needed and without empty cells, outer space removed; see `read_table`.

    Raises:
        ValueError: As `read_table`, and if a cell is empty.
    """
    cells = read_table(path, columns).cells
    empty = cells.isna().any(axis="columns")
    if empty.any():
        raise ValueError(f"{path}, line {cells.index[empty][0]}: a cell of {', '.join(columns)} is empty")
    result: pd.DataFrame = cells.apply(lambda column: column.str.strip())
    return result


def read_lines(path: Path, pattern: re.Pattern[str], example: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Match every line of a text file that is not blank.

    Args:
        path: UTF-8 text.
        pattern: What a whole line must look like.
        example: A good line, for the message.

    Yields:
        Line number from 1, and the match.

    Raises:
        ValueError: At the first line that does not match, or if the file is no text.
    """
    for number, raw in enumerate(read_text(path).splitlines(), start=1):
        line = raw.strip()
        if not line:
            continue
        match = pattern.fullmatch(line)
        if match is None:
            raise ValueError(f"{path}, line {number}: expected such as `{example}`, not {line[:80]!r}")
        yield number, match


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a label file in UTF-8; `errors` as in `bytes.decode`.

    Raises:
        ValueError: If there is no such file, it is in another encoding, or it is not the file itself (`stand_in`).
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; is this the right folder and corpus?") from None
    other = stand_in(content)
    if other:
        raise ValueError(f"{path}: {other}")
    if archive_kind(content):
        raise ValueError(f"{path}: is an Excel workbook or an archive, not text; save it as CSV in UTF-8")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:2]:  # elsewhere it is an odd name's
        raise ValueError(f"{path}: is in UTF-16 or no text; save it in UTF-8")
    try:
        return content.decode("utf-8-sig", errors=errors)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02X}), perhaps Latin-1 or Windows-1252; "
            "save it in UTF-8"
        ) from None


def look_up(words: Mapping[str, T], word: str, path: Path, line: int) -> T:
    """What a word of a label file stands for.

    Raises:
        ValueError: If it stands for nothing, naming file and line.
    """
    if word not in words:
        raise ValueError(f"{path}, line {line}: {word!r} is not among {', '.join(words)}{did_you_mean(word, words)}")
    return words[word]


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A hint to the name that `word` may stand for, such as `` (did you mean happy?)``; empty if there is none."""
    plain = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.strip().casefold(), plain, n=1, cutoff=_ALIKE)
    if near:
        return f" (did you mean {plain[near[0]]}? Names must match in case and spelling)"
    return " (leave the cell empty where there is no value)" if word.strip().lower() in MISSING_WORDS else ""


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows that are not empty, each with the number of its first line."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    line, empty = 1, True
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                yield line, record
                empty = False
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: not a CSV file: {error}") from None
    if empty:
        raise ValueError(f"{path}: not a CSV file: it is empty")


def _places(path: Path, header: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Where the wanted columns are, those that are there."""
    places = {}
    for name in wanted:
        found = [place for place, other in enumerate(header) if _plain(other) == _plain(name)]
        if len(found) > 1:
            names = " and ".join(repr(header[place]) for place in found)
            raise ValueError(f"{path}: the columns {names} have one name, {name}; rename or remove one of them")
        if found:
            places[name] = found[0]
    return places


def _plain(name: str) -> str:
    return name.strip().strip("\"'\ufeff").strip().casefold()


def _meant_for(name: str, absent: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> str:
    """A hint to the absent column that an unused one may be meant for."""
    called = {_letters(other): wanted for wanted in absent for other in (*synonyms.get(wanted, ()), wanted)}
    near = difflib.get_close_matches(_letters(name), called, n=1, cutoff=_ALIKE)
    return f" (rename it to `{called[near[0]]}` if it is that)" if near else ""


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
