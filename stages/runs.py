"""The runs of an MLflow store: how they are found, opened and ended. With `stages.delivery` alone, it knows MLflow.

Stages are separate processes and may be killed at any moment, so nobody hands run ids around: a run carries
a key made of what determines its results (`stages.studies`) and is found or created by it under a file lock.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, Run
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from hicmae_core.config import Params
from hicmae_core.files import sha256_of
from stages import layout, studies
from stages.project import git_state
from stages.sender import reason
from stages.studies import Study

KEY_TAG = "run_key"
PARENT_TAG = "mlflow.parentRunId"
_TRAINED_TAG = "trained"
_FINGERPRINT_TAG = "training_fingerprint"
_TRAININGS = ("pretrain", "finetune")
_SQLITE = "sqlite:///"
_PARAMS_PER_CALL = 100
_OPENING_TIMEOUT_SECONDS = 10


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

    def open(
        self, stage: str, study: Study, params: Params, fold: int | None, fingerprint: str
    ) -> tuple[Run, Run | None, bool]:
        """The run of a stage, its parent, and whether it was cut short before.

        Raises:
            ValueError: If the store cannot be reached.
        """
        with self._opening():
            experiment_id = self._experiment(study.experiment)
            shared = self._tags(study, params)
            parent = None
            key = study.key
            name = study.name
            tags = dict(shared)
            if fold is not None:
                parent = self._find(experiment_id, key) or self._create(experiment_id, key, name, shared, study)
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
            self._begin_stage(run, stage, tags)
        return run, parent, resumed

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
        self.client.log_inputs(run.info.run_id, [_dataset_input(self.root, study)])
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

    def _tags(self, study: Study, params: Params) -> dict[str, str]:
        lock_file = self.root / "dvc.lock"
        commit, is_dirty = git_state(self.root)
        tags = {
            "dataset": study.dataset,
            "seed": str(params.seed),
            "device": params.compute.device,
            "git_commit": f"{commit}-dirty" if is_dirty else commit,
            "dvc_lock_sha256": sha256_of(lock_file) if lock_file.is_file() else "",
            "mlflow.user": getpass.getuser(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": " ".join(sys.argv),
            "mlflow.source.git.commit": commit,
        }
        source = None if study.experiment == "pretraining" else studies.starting_point(params)
        if source is not None:
            pretraining = self._find(self._experiment(source.experiment), source.key)
            if pretraining is not None:
                info = pretraining.info
                tags["pretraining_run_id"] = info.run_id
                link = f"#/experiments/{info.experiment_id}/runs/{info.run_id}"
                tags["mlflow.note.content"] = f"Starts from the [pre-training {info.run_name}]({link})."
        return tags


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


def _dataset_input(root: Path, study: Study) -> DatasetInput:
    path = root / layout.manifest_file(study.dataset)
    digest = sha256_of(path)
    dataset = Dataset(
        name=study.dataset,
        digest=digest[:32],  # MLflow takes 36 characters at most
        source_type="local",
        source=json.dumps({"uri": str(path), "sha256": digest}),
        profile=json.dumps({"num_rows": pq.read_metadata(path).num_rows}),
    )
    context = "pretraining" if study.experiment == "pretraining" else "cross-validation"
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
