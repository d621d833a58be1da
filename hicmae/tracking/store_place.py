"""Where the files of a store's runs and models are: beside its ``mlflow.db``, wherever the project is now.

MLflow writes absolute addresses into the store. Of a project that was moved they lead nowhere, of a copy into the
original.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hicmae.command import run
from hicmae.layout import project_root
from hicmae_core.progress import tell

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
_BESIDE = re.compile(rf"(?P<home>.*)/(?P<folder>{ARTIFACTS}|mlruns)(?P<below>(/\d+)?)")
"""Where experiments keep their files: ours, and those of MLflow's default."""
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_BEGINS = "({column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/')"
_TIMEOUT_SECONDS = 10


class _Move(NamedTuple):
    """An address of before and of now, and their folders."""

    old: str
    new: str
    folder_before: Path
    folder: Path


def settle(database: Path) -> None:
    """Let the addresses that lead to where the store was before lead to where it is.

    Others stay: a folder that is there, without a store beside it, was chosen by somebody.

    Args:
        database: An SQLite store with MLflow's tables.

    Raises:
        ValueError: If the files of its runs did not come along.
    """
    with closing(sqlite3.connect(database, timeout=_TIMEOUT_SECONDS, isolation_level=None)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables.issuperset(table for table, _ in _ADDRESSES):
            return  # of an older MLflow, which knows how to bring it up to date; or empty
        moves = {move: _num_runs(connection, move) for move in _moves(connection, database.absolute().parent)}
        for move, num_runs in moves.items():
            if num_runs and not move.folder.is_dir():
                raise ValueError(
                    f"{database} was moved or copied without the files of its {num_runs} runs, which were in "
                    f"{move.folder_before}: bring them to {move.folder}, or go on without them: mkdir '{move.folder}'"
                )
        for move, num_runs in moves.items():
            connection.execute("BEGIN IMMEDIATE")
            for table, column in _ADDRESSES:
                connection.execute(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                    f"WHERE {_BEGINS.format(column=column)}",
                    {"old": move.old, "new": move.new},
                )
            connection.execute("COMMIT")
            if num_runs:
                tell(f"{database} was moved or copied: the files of its {num_runs} runs are now in {move.folder}")


def _moves(connection: sqlite3.Connection, home: Path) -> Iterator[_Move]:
    for (address,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall():
        beside = _BESIDE.fullmatch(address or "")
        is_uri = urlsplit(address or "").scheme == "file"
        if beside is None or not (is_uri or address.startswith("/")):
            continue
        home_before = Path(url2pathname(urlsplit(beside["home"]).path) if is_uri else beside["home"])
        below = beside["folder"] + beside["below"]
        before = home_before / below
        if os.path.realpath(home_before) == os.path.realpath(home):
            continue
        if not before.exists() or (home_before / DATABASE).exists():
            yield _Move(address, f"{home.as_uri() if is_uri else home}/{below}", before, home / beside["folder"])


def _num_runs(connection: sqlite3.Connection, move: _Move) -> int:
    query = f"SELECT count(*) FROM runs WHERE {_BEGINS.format(column='artifact_uri')}"
    return int(connection.execute(query, {"old": move.old}).fetchone()[0])


def main() -> None:
    """Let MLflow find the files of a moved or copied project; whoever opens its store for a stage does the same."""
    database = project_root() / DATABASE
    if database.is_file():
        try:
            settle(database)
        except sqlite3.Error as error:
            raise ValueError(f"{database} cannot be read: {error}") from None


if __name__ == "__main__":
    run(main, "python -m hicmae.tracking.store_place")
