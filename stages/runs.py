"""The runs of an MLflow store: how they are found, opened and ended. With `stages.delivery` alone, it knows MLflow.

Stages are separate processes and may be killed at any moment, so nobody hands run ids around: a run carries
a key made of what determines its results (`stages.studies`) and is found or created by it under a file lock.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, Param, Run
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from hicmae_core.config import Params
from stages import provenance, studies, views
from stages.sender import reason
from stages.studies import Study
from stages.tracking import NOTE_TAG

KEY_TAG = "run_key"
PARENT_TAG = "mlflow.parentRunId"
_TRAINED_TAG = "trained"
_FINGERPRINT_TAG = "training_fingerprint"
_TRAININGS = ("pretrain", "finetune")
_SQLITE = "sqlite:///"
_PARAMS_PER_CALL = 100
_OPENING_TIMEOUT_SECONDS = 10


class Opened(NamedTuple):
    """A run that a stage writes to."""

    run: Run
    parent: Run | None
    """The study of a fold's run."""
    resumed: bool
    """Whether a training was cut short in it before."""
    links: str
    """Where else to look, as Markdown: what its page says until it is described."""


class RunStore:
    """An MLflow store and how runs are found in it. Hold `lock` while opening and ending runs.

    Args:
        root: The project's folder; the store is ``mlflow.db`` there, or what `MLFLOW_TRACKING_URI` says.

    Raises:
        ValueError: If the store cannot be reached.
    """

    def __init__(self, root: Path) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").addFilter(_has_no_traceback)
        self.root = root
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
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

    def open(self, stage: str, study: Study, params: Params, fold: int | None, fingerprint: str) -> Opened:
        """The run of a stage, made if it is not there.

        Raises:
            ValueError: If the store cannot be reached.
        """
        with self._opening():
            experiment_id = self._experiment(study.experiment)
            tags = provenance.tags(self.root, study, params)
            start = self._starting_point(study, params)
            if start is not None:
                tags["pretraining_run_id"] = start.info.run_id
            parent = None
            key = study.key
            name = study.name
            if fold is not None:
                parent = self._find(experiment_id, key) or self._create(experiment_id, key, name, tags, study)
                self.client.update_run(parent.info.run_id, status="RUNNING")
                key, name = study.fold_key(fold), f"fold {fold}"
                tags |= {PARENT_TAG: parent.info.run_id, "fold": str(fold)}
            run = self._find(experiment_id, key)
            if stage in _TRAININGS:
                tags[_FINGERPRINT_TAG] = fingerprint
                if run is not None and not _can_go_on(run, fingerprint):
                    self._supersede(run)
                    run = None
            resumed = run is not None and stage in _TRAININGS
            if run is None:
                run = self._create(experiment_id, key, name, tags, study)
            self._save_views(study, params, parent or run)
            links = self._links(study, run, parent, start)
            if parent is not None and "summarise" not in parent.data.tags.get("stage", ""):
                self.client.set_tag(parent.info.run_id, NOTE_TAG, self._links(study, parent, None, start))
            self._begin_stage(run, stage, {**tags, NOTE_TAG: links})
        return Opened(run, parent, resumed, links)

    def end(self, run_id: str, stage: str, status: str, end_ms: int, parent_id: str | None) -> None:
        """End a run, and its parent if no other child is running."""
        if stage in _TRAININGS and status == "FINISHED":
            self.client.set_tag(run_id, _TRAINED_TAG, "true")
        self.client.set_terminated(run_id, status, end_ms)
        if parent_id is None:
            return
        experiment_id = self.client.get_run(parent_id).info.experiment_id
        children = self.client.search_runs([experiment_id], f"tags.`{PARENT_TAG}` = '{parent_id}'")
        statuses = {child.info.status for child in children if KEY_TAG in child.data.tags}
        if "RUNNING" not in statuses:
            self.client.set_terminated(parent_id, "FINISHED" if statuses == {"FINISHED"} else "FAILED", end_ms)

    def find(self, experiment: str, key: str) -> Run | None:
        """The run of a key (`stages.studies`); None if there is none.

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
                mend = "see that the disk has room and that no other program holds the file"
            else:
                mend = "start it, or unset MLFLOW_TRACKING_URI to log into mlflow.db here"
            raise ValueError(f"MLflow at {self.name} cannot be reached ({reason(error)}): {mend}") from error
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
            artifacts = (Path(self.uri.removeprefix(_SQLITE)).parent / "mlartifacts").as_uri()
        return self.client.create_experiment(name, artifacts, {"mlflow.experimentKind": "custom_model_development"})

    def _find(self, experiment_id: str, key: str) -> Run | None:
        found = self.client.search_runs([experiment_id], f"tags.{KEY_TAG} = '{key}'", max_results=1)
        return found[0] if found else None

    def _create(self, experiment_id: str, key: str, name: str, tags: Mapping[str, str], study: Study) -> Run:
        run = self.client.create_run(experiment_id, tags={**tags, KEY_TAG: key}, run_name=name)
        params = [Param(name, value) for name, value in studies.flatten(study.settings).items()]
        for start in range(0, len(params), _PARAMS_PER_CALL):
            self.client.log_batch(run.info.run_id, params=params[start : start + _PARAMS_PER_CALL])
        self.client.log_inputs(run.info.run_id, [provenance.dataset_input(self.root, study)])
        return run

    def _supersede(self, run: Run) -> None:
        """Take a run out of the way of a new training with the same settings, and keep it readable."""
        status = "KILLED" if run.info.status == "RUNNING" else run.info.status
        self.client.update_run(run.info.run_id, status, f"{run.info.run_name} (superseded)")
        self.client.set_tag(run.info.run_id, "superseded_key", run.data.tags[KEY_TAG])
        self.client.delete_tag(run.info.run_id, KEY_TAG)

    def _begin_stage(self, run: Run, stage: str, tags: Mapping[str, str]) -> None:
        before = run.data.tags.get("stage", "").split(", ")
        stages = ", ".join(dict.fromkeys(name for name in (*before, stage) if name))
        for name, value in {**tags, "stage": stages}.items():
            self.client.set_tag(run.info.run_id, name, value)
        self.client.update_run(run.info.run_id, status="RUNNING")

    def _starting_point(self, study: Study, params: Params) -> Run | None:
        """The pre-training that a study starts from, if it is known here."""
        source = None if study.experiment == studies.PRETRAINING else studies.starting_point(params)
        return None if source is None else self._find(self._experiment(source.experiment), source.key)

    def _save_views(self, study: Study, params: Params, top: Run) -> None:
        """Give the experiment's page its views, where they are not there yet."""
        wanted = views.views_of_pretraining()
        if study.experiment != studies.PRETRAINING:
            wanted = views.views_of_study(top, params.dataset[study.dataset])
            wanted[NOTE_TAG] = views.experiment_note(top)
        present: Experiment = self.client.get_experiment(top.info.experiment_id)
        for name, value in wanted.items():
            if present.tags.get(name) != value:
                self.client.set_experiment_tag(top.info.experiment_id, name, value)

    def _links(self, study: Study, run: Run, parent: Run | None, start: Run | None) -> str:
        said = []
        if parent is not None:
            said.append(f"a fold of {views.run_link(parent.info.run_name, parent)}")
        elif study.experiment != studies.PRETRAINING:
            said.append(views.study_links(run, self.fold_runs(run.info.run_id).values()))
        if start is not None:
            said.append(f"from the {views.run_link(f'pre-training {start.info.run_name}', start)}")
        return " · ".join(said)


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


def _can_go_on(run: Run, fingerprint: str) -> bool:
    """Whether a training was cut short in `run`, of the same parameters, data and code."""
    return _TRAINED_TAG not in run.data.tags and run.data.tags.get(_FINGERPRINT_TAG) == fingerprint


def _has_no_traceback(record: logging.LogRecord) -> bool:
    """Whether a log record is not about an error that is raised as well, and told in one sentence."""
    return not record.exc_info
