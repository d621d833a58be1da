"""An MLflow store, and what is found in it."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from hicmae.command import run
from hicmae.environment import proxy_of
from hicmae.layout import project_root
from hicmae.tracking.sender import reason
from hicmae_core.progress import log_line

KEY_TAG = "run_key"
PARENT_TAG = "mlflow.parentRunId"
_SQLITE = "sqlite:///"
_OPENING_TIMEOUT_SECONDS = 10


class MlflowStore:
    """An MLflow store and how runs are found in it.

    Args:
        root: The project's folder; the store is ``mlflow.db`` there, or what `MLFLOW_TRACKING_URI` says.

    Raises:
        ValueError: If the store cannot be reached, or as `settle`.
    """

    def __init__(self, root: Path) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").addFilter(_has_no_traceback)
        self.root = root
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{DATABASE}"
        if self.uri.startswith(_SQLITE):  # MLflow would take a relative path from the working directory
            self.uri = f"{_SQLITE}{root / self.uri.removeprefix(_SQLITE)}"
        self.name = re.sub(r"^([\w+.-]+://)[^/@]*@", r"\1", self.uri)
        """The address without a password."""
        self.lock = FileLock(root / "mlflow.db.lock")
        with self.lock, self._opening():  # several processes that create one SQLite store at once would spoil it
            self.client = MlflowClient(self.uri)
            self.client.search_experiments(max_results=1)
            if self.uri.startswith(_SQLITE):
                _write_ahead(Path(self.uri.removeprefix(_SQLITE)))
                settle(Path(self.uri.removeprefix(_SQLITE)))

    def name_in(self, project: Path) -> str:
        """The name, from the project's folder if the store is in it: that may be moved or copied with the store."""
        if self.uri.startswith(_SQLITE):
            file = os.path.realpath(self.uri.removeprefix(_SQLITE))
            if Path(file).is_relative_to(os.path.realpath(project)):
                return f"{_SQLITE}{os.path.relpath(file, os.path.realpath(project))}"
        return self.name

    def find(self, experiment: str, key: str) -> Run | None:
        """The run of a key (`hicmae.tracking.provenance`); None if there is none.

        Raises:
            ValueError: If the store cannot be reached.
        """
        with self._opening():
            found = self.client.get_experiment_by_name(experiment)
            return None if found is None else self._find(found.experiment_id, key)

    def studies_of(self, dataset: str) -> list[Run]:
        """The studies of a dataset that have been summarised, the newest first."""
        experiment = self.client.get_experiment_by_name(dataset)
        found = self.client.search_runs([experiment.experiment_id]) if experiment else []
        return [
            run for run in found if PARENT_TAG not in run.data.tags and "summarise" in run.data.tags.get("stage", "")
        ]

    def all_runs(self, experiment: str) -> list[Run]:
        """All runs of an experiment, superseded ones too; none if it is not there."""
        found = self.client.get_experiment_by_name(experiment)
        return [] if found is None else list(_pages(self.client, [found.experiment_id], ""))

    def tagged(self, tag: str, value: str) -> list[Run]:
        """The runs of all experiments that have a tag."""
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        return list(_pages(self.client, experiments, f"tags.`{tag}` = '{value}'"))

    def fold_runs(self, parent_id: str) -> dict[int, Run]:
        """The present runs of a study's folds, in order."""
        experiment_id = self.client.get_run(parent_id).info.experiment_id
        children = self.client.search_runs([experiment_id], f"tags.`{PARENT_TAG}` = '{parent_id}'")
        current = {int(run.data.tags["fold"]): run for run in children if KEY_TAG in run.data.tags}
        return dict(sorted(current.items()))

    def download(self, run_id: str, name: str) -> Path:
        """A file of a run, here.

        Raises:
            ValueError: If there is no such run, or no such file in it.
        """
        try:
            return Path(self.client.download_artifacts(run_id, name))
        except (MlflowException, OSError) as error:
            raise ValueError(f"no {name} in MLflow run `{run_id}`: {error}") from None

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Give up soon, with one sentence: nothing is lost yet."""
        given = MLFLOW_HTTP_REQUEST_TIMEOUT.get_raw()
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(_OPENING_TIMEOUT_SECONDS)
        try:
            yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            if self.uri.startswith(_SQLITE):
                fix = "see that the disk has room and that no other program holds the file"
            else:
                fix = "start it, or unset MLFLOW_TRACKING_URI to log into mlflow.db here"
            raise ValueError(
                f"MLflow at {self.name} cannot be reached{proxy_of(self.uri)} ({reason(error)}): {fix}"
            ) from error
        finally:
            MLFLOW_HTTP_REQUEST_TIMEOUT.unset()
            if given is not None:
                MLFLOW_HTTP_REQUEST_TIMEOUT.set(given)

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            if experiment.lifecycle_stage == "deleted":
                self.client.restore_experiment(experiment.experiment_id)
            return experiment.experiment_id
        artifacts = None
        if self.uri.startswith(_SQLITE):  # a server knows where it keeps artifacts
            artifacts = (Path(self.uri.removeprefix(_SQLITE)).parent / ARTIFACTS).as_uri()
        return self.client.create_experiment(name, artifacts, {"mlflow.experimentKind": "custom_model_development"})

    def _find(self, experiment_id: str, key: str) -> Run | None:
        found = self.client.search_runs([experiment_id], f"tags.{KEY_TAG} = '{key}'", max_results=1)
        return found[0] if found else None


def dataset_inputs_of(run: Run) -> list[DatasetInput]:
    """The datasets that a run read."""
    return run.inputs.dataset_inputs if run.inputs else []


def run_id_of(version: ModelVersion) -> str:
    """The run that a version of a registered model comes from.

    Raises:
        ValueError: If it names none.
    """
    if version.run_id is None:
        raise ValueError(
            f"{version.name} version {version.version} names no run; it was not registered by this project"
        )
    return version.run_id


def _pages(client: MlflowClient, experiments: list[str], wanted: str) -> Iterator[Run]:
    token: str | None = ""
    while token is not None:
        page = client.search_runs(experiments, wanted, page_token=token or None)
        yield from page
        token = page.token or None


def _write_ahead(store: Path) -> None:
    """Let those who read an SQLite store, such as the UI, and those who write it not wait for each other.

    The file remembers it: MLflow itself leaves SQLite's default, in which each keeps the other out.
    """
    with closing(sqlite3.connect(store, timeout=_OPENING_TIMEOUT_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _has_no_traceback(record: logging.LogRecord) -> bool:
    """Whether a log record is not about an error that is raised as well, and reported in one sentence."""
    return not record.exc_info


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
                log_line(f"{database} was moved or copied: the files of its {num_runs} runs are now in {move.folder}")


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
    run(main, "python -m hicmae.tracking.store")
