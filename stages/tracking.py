"""Every run in MLflow: one parent per study, one child per fold, the pre-training linked from both.

Stages are separate processes and may be killed at any moment, so nobody hands run ids around: a run carries
a key made of what determines its results (`stages.studies`) and is found or created by it under a file lock.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from hicmae_core.config import Params
from hicmae_core.files import sha256_of
from hicmae_core.training.tracker import NullTracker
from stages import layout, studies
from stages.project import git_state, project_root
from stages.studies import Study

MODEL_FILE = "model.safetensors"
KEY_TAG = "run_key"
PARENT_TAG = "mlflow.parentRunId"
_TRAINED_TAG = "trained"
_TRAININGS = ("pretrain", "finetune")
_SQLITE = "sqlite:///"
_METRICS_PER_CALL = 1000
_PARAMS_PER_CALL = 100
_SYSTEM_METRICS_EVERY_SECONDS = 5


class MlflowTracker:
    """A run in MLflow as a `hicmae_core.training.tracker.Tracker`."""

    def __init__(self, client: MlflowClient, run: Run, keep_first: bool) -> None:
        """Write to `run`; with `keep_first`, steps that it already has stay as they are."""
        self.run_id = run.info.run_id
        self.experiment_id = run.info.experiment_id
        self._client = client
        self._keep_first = keep_first
        self._known_steps: dict[str, set[int]] = {}

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Remember one value of each metric at `step`."""
        self._log((name, step, value) for name, value in values.items())

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Remember many points (step, value) of one metric in few calls."""
        self._log((name, step, value) for step, value in points)

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Remember a file, as it is now, under `folder`."""
        self._client.log_artifact(self.run_id, str(path), folder or None)

    def _log(self, points: Iterable[tuple[str, int, float]]) -> None:
        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, step) for name, step, value in points if step not in self._steps_of(name)
        ]
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + _METRICS_PER_CALL])

    def _steps_of(self, name: str) -> set[int]:
        if name not in self._known_steps:
            history = self._client.get_metric_history(self.run_id, name) if self._keep_first else []
            self._known_steps[name] = {metric.step for metric in history}
        return self._known_steps[name]


@contextmanager
def track(
    stage: str, params: Params, dataset: str | None = None, fold: int | None = None
) -> Iterator[MlflowTracker | NullTracker]:
    """Open the run that a stage belongs to; it ends FINISHED, FAILED or, after Ctrl-C, KILLED.

    A training that was cut short goes on in its run, keeping the steps it has; one that had finished starts
    a new run, and the old one is renamed. Other stages always add to the run that is there.

    Args:
        stage: ``pretrain``, ``finetune``, ``evaluate`` or ``summarise``.
        params: All parameters; those that determine the result are logged and make the run's key.
        dataset: The evaluated dataset; None for the pre-training.
        fold: 1-based fold; None for the pre-training and for the study as a whole.

    Yields:
        The run's tracker. Of a distributed training only the first process has one.
    """
    if os.environ.get("RANK", "0") != "0":
        yield NullTracker()
        return
    study = studies.pretraining(params) if dataset is None else studies.cross_validation(params, dataset)
    store = _Store(project_root())
    with store.lock:
        run, parent, resumed = store.open(stage, study, params, fold)
    monitor = SystemMetricsMonitor(
        run.info.run_id, _SYSTEM_METRICS_EVERY_SECONDS, resume_logging=True, tracking_uri=store.uri
    )
    monitor.start()
    status = "FAILED"
    try:
        yield MlflowTracker(store.client, run, keep_first=resumed)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        monitor.finish()
        with store.lock:
            store.close(stage, run, parent, status)


def download_model(run_id: str) -> Path:
    """The model of a fold's run, as a file here.

    Raises:
        ValueError: If there is no such run, or no model in it.
    """
    client = _Store(project_root()).client
    try:
        return Path(client.download_artifacts(run_id, MODEL_FILE))
    except (MlflowException, OSError) as error:
        raise ValueError(f"no {MODEL_FILE} in MLflow run `{run_id}`: {error}") from None


class _Store:
    """The MLflow store and how runs are found in it. Hold `lock` while opening and closing."""

    def __init__(self, root: Path) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.root = root
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
        if self.uri.startswith(_SQLITE):  # MLflow would take a relative path from the working directory
            self.uri = f"{_SQLITE}{root / self.uri.removeprefix(_SQLITE)}"
        self.lock = FileLock(root / "mlflow.db.lock")
        with self.lock:  # several processes that create one SQLite store at once would spoil it
            self.client = MlflowClient(self.uri)
            self.client.search_experiments(max_results=1)

    def open(self, stage: str, study: Study, params: Params, fold: int | None) -> tuple[Run, Run | None, bool]:
        """The run of a stage, its parent, and whether it was cut short before."""
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
        if run is not None and stage in _TRAININGS and _TRAINED_TAG in run.data.tags:
            self._supersede(run)
            run = None
        resumed = run is not None and stage in _TRAININGS
        if run is None:
            run = self._create(experiment_id, key, name, tags, study)
        self._begin_stage(run, stage, tags)
        return run, parent, resumed

    def close(self, stage: str, run: Run, parent: Run | None, status: str) -> None:
        """End `run`, and its parent if no other child is running."""
        if stage in _TRAININGS and status == "FINISHED":
            self.client.set_tag(run.info.run_id, _TRAINED_TAG, "true")
        self.client.set_terminated(run.info.run_id, status)
        if parent is None:
            return
        family = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'"
        children = self.client.search_runs([parent.info.experiment_id], family)
        statuses = {child.info.status for child in children if KEY_TAG in child.data.tags}
        if "RUNNING" not in statuses:
            self.client.set_terminated(parent.info.run_id, "FINISHED" if statuses == {"FINISHED"} else "FAILED")

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
        """Take a finished run out of the way of a new training with the same settings, and keep it readable."""
        self.client.update_run(run.info.run_id, name=f"{run.info.run_name} (superseded)")
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
