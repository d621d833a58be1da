"""The runs of an MLflow store: how they are made, opened and ended.

Stages are separate processes and may be killed at any moment, so nobody hands run ids around: a run carries
a key made of what determines its results (`provenance`) and is found or created by it under a file lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import Experiment, Metric, Param, Run
from mlflow.exceptions import MlflowException
from PIL import Image, UnidentifiedImageError

from hicmae.tracking import mlflow_views, provenance
from hicmae.tracking.outbox import Entry
from hicmae.tracking.provenance import Study
from hicmae.tracking.sender import Refused, reason
from hicmae.tracking.stage_runs import NOTE_TAG
from hicmae.tracking.store import KEY_TAG, PARENT_TAG, MlflowStore
from hicmae_core.config import Params
from hicmae_core.files import flatten, sha256_of

_TRAINED_TAG = "trained"
_FINGERPRINT_TAG = "training_fingerprint"
_TRAININGS = ("pretrain", "finetune")
_PARAMS_PER_CALL = 100


class Opened(NamedTuple):
    """A run that a stage writes to."""

    run: Run
    parent: Run | None
    """The study of a fold's run."""
    resumed: bool
    """Whether a training was cut short in it before."""
    links: str
    """Where else to look, as Markdown: what its page says until it is described."""


class RunStore(MlflowStore):
    """An MLflow store whose runs are opened and ended. Hold `lock` meanwhile."""

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

    def _create(self, experiment_id: str, key: str, name: str, tags: Mapping[str, str], study: Study) -> Run:
        run = self.client.create_run(experiment_id, tags={**tags, KEY_TAG: key}, run_name=name)
        params = [Param(name, value) for name, value in flatten(study.settings).items()]
        for start in range(0, len(params), _PARAMS_PER_CALL):
            self.client.log_batch(run.info.run_id, params=params[start : start + _PARAMS_PER_CALL])
        self.client.log_inputs(run.info.run_id, provenance.dataset_inputs(self.root, study))
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
        source = None if study.experiment == provenance.PRETRAINING else provenance.starting_point(params)
        return None if source is None else self._find(self._experiment(source.experiment), source.key)

    def _save_views(self, study: Study, params: Params, top: Run) -> None:
        """Give the experiment's page its views, where they are not there yet."""
        wanted = mlflow_views.views_of_pretraining()
        if study.experiment != provenance.PRETRAINING:
            wanted = mlflow_views.views_of_study(top, params.dataset[study.dataset])
            wanted[NOTE_TAG] = mlflow_views.experiment_note(top)
        present: Experiment = self.client.get_experiment(top.info.experiment_id)
        for name, value in wanted.items():
            if present.tags.get(name) != value:
                self.client.set_experiment_tag(top.info.experiment_id, name, value)

    def _links(self, study: Study, run: Run, parent: Run | None, start: Run | None) -> str:
        said = []
        if parent is not None:
            said.append(f"a fold of {mlflow_views.run_link(parent.info.run_name, parent)}")
        elif study.experiment != provenance.PRETRAINING:
            said.append(mlflow_views.study_links(run, self.fold_runs(run.info.run_id).values()))
        if start is not None:
            said.append(f"from the {mlflow_views.run_link(f'pre-training {start.info.run_name}', start)}")
        return " · ".join(said)


def _can_go_on(run: Run, fingerprint: str) -> bool:
    """Whether a training was cut short in `run`, of the same parameters, data and code."""
    return _TRAINED_TAG not in run.data.tags and run.data.tags.get(_FINGERPRINT_TAG) == fingerprint


DIGEST_TAG = "sha256."
"""Begins the tags that hold the digests of a run's files, by name."""
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "BAD_REQUEST", "MALFORMED_REQUEST")


class Delivery:
    """Sends entries of one run: metrics up to `outbox.MAX_POINTS`, or one of another kind.

    A point that is sent again changes nothing: its name, step, value and time are its key in the store.
    """

    def __init__(self, store: RunStore, outbox: Path) -> None:
        """Send what is in the folder of an outbox, which is named after its run."""
        self._store = store
        self._outbox = outbox
        self._run_id = outbox.name
        self._known_steps: dict[str, set[int]] = {}

    def __call__(self, entries: Sequence[Entry]) -> None:
        """Send `entries`.

        Raises:
            Refused: If the store will never take them.
            Exception: Whatever the store's client raises, if it cannot be reached now.
        """
        try:
            match entries[0]["kind"]:
                case "metrics":
                    self._log_metrics(entries)
                case "artifact":
                    self._log_artifact(self._outbox / entries[0]["path"], entries[0]["folder"])
                case "image":
                    self._log_image(self._outbox / entries[0]["path"], entries[0]["time_ms"])
                case "text":
                    self._store.client.log_text(self._run_id, entries[0]["text"], entries[0]["name"])
                case "tags":
                    for name, value in entries[0]["tags"].items():
                        self._store.client.set_tag(self._run_id, name, value)
                case "end":
                    with self._store.lock:
                        self._store.end(self._run_id, **entries[0]["how"])
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise Refused(reason(error)) from error
            raise
        except FileNotFoundError as error:
            raise Refused(f"{error.filename} is no longer there") from error
        except UnidentifiedImageError as error:
            raise Refused(f"{entries[0]['path']} is no image") from error

    def _log_artifact(self, path: Path, folder: str) -> None:
        """Store a file, and by its digest the way back from any copy of it (`hicmae lineage`)."""
        self._store.client.log_artifact(self._run_id, str(path), folder or None)
        name = f"{folder}/{path.name}" if folder else path.name
        self._store.client.set_tag(self._run_id, f"{DIGEST_TAG}{name}", sha256_of(path))

    def _log_image(self, path: Path, time_ms: int) -> None:
        with Image.open(path) as picture:
            self._store.client.log_image(
                self._run_id, picture, key=path.stem, step=0, timestamp=time_ms, synchronous=True
            )

    def _log_metrics(self, entries: Sequence[Entry]) -> None:
        metrics = [metric for entry in entries for metric in self._wanted(entry)]
        if metrics:
            self._store.client.log_batch(self._run_id, metrics=metrics)
        for metric in metrics:
            self._known_steps.get(metric.key, set()).add(metric.step)

    def _wanted(self, entry: Entry) -> Iterator[Metric]:
        """The entry's points; of a training that goes on, those of steps that the run does not have."""
        for name, step, value, time_ms in entry["points"]:
            if not entry["keep_first"] or step not in self._steps_of(name):
                yield Metric(name, value, time_ms, step)

    def _steps_of(self, name: str) -> set[int]:
        if name not in self._known_steps:
            history = self._store.client.get_metric_history(self._run_id, name)
            self._known_steps[name] = {metric.step for metric in history}
        return self._known_steps[name]
