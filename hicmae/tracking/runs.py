"""The runs of an MLflow store: how they are made, opened and ended.

Stages are separate processes and may be killed at any moment, so nobody hands run ids around: a run carries
a key made of what determines its results (`provenance`) and is found or created by it under a file lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mlflow.entities import Experiment, Param, Run

from hicmae.tracking import provenance, views
from hicmae.tracking.provenance import Study
from hicmae.tracking.stage_runs import NOTE_TAG
from hicmae.tracking.store import KEY_TAG, PARENT_TAG, MlflowStore
from hicmae_core.config import Params
from hicmae_core.files import flatten

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
        wanted = views.views_of_pretraining()
        if study.experiment != provenance.PRETRAINING:
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
        elif study.experiment != provenance.PRETRAINING:
            said.append(views.study_links(run, self.fold_runs(run.info.run_id).values()))
        if start is not None:
            said.append(f"from the {views.run_link(f'pre-training {start.info.run_name}', start)}")
        return " · ".join(said)


def _can_go_on(run: Run, fingerprint: str) -> bool:
    """Whether a training was cut short in `run`, of the same parameters, data and code."""
    return _TRAINED_TAG not in run.data.tags and run.data.tags.get(_FINGERPRINT_TAG) == fingerprint
