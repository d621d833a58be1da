"""Every run in MLflow: one parent per study, one child per fold, the pre-training linked from both.

Nothing that a stage logs is lost, nor does it wait: all goes through an outbox on disk (`outbox`), and from there to
MLflow (`sender`). MLflow itself takes seconds to import, and is imported when a run is opened.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from hicmae import layout
from hicmae.layout import project_root
from hicmae.tracking import provenance
from hicmae.tracking.outbox import MAX_POINTS, Outbox, waiting_folders
from hicmae.tracking.sender import Sender
from hicmae_core.config import Params, tracked_name
from hicmae_core.progress import log_line
from hicmae_core.training.tracker import NullTracker

if TYPE_CHECKING:
    from hicmae.tracking.runs import Opened, RunStore

MODEL_FILE = "model.safetensors"
NOTE_TAG = "mlflow.note.content"
_PATIENCE_SECONDS = 30.0
_PATIENCE_WHEN_INTERRUPTED_SECONDS = 3.0
_ORPHANS_END_WITHIN_SECONDS = 20.0
"""A killed process's data workers notice, and let go of its outbox."""


class MlflowTracker:
    """A run in MLflow as a `hicmae_core.training.tracker.Tracker`. Its methods take microseconds."""

    def __init__(self, opened: Opened, outbox: Outbox) -> None:
        """Write to a run; if it is resumed, steps that it already has stay as they are."""
        self.run_id = opened.run.info.run_id
        self.experiment_id = opened.run.info.experiment_id
        self._links = opened.links
        self._outbox = outbox
        self._keep_first = opened.resumed

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Remember one value of each metric at `step`; its name becomes one that MLflow takes (`tracked_name`)."""
        self._log((name, step, value) for name, value in values.items())

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Remember many points (step, value) of one metric."""
        self._log((name, step, value) for step, value in points)

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Remember a file, as it is now, under `folder`."""
        self._outbox.append({"kind": "artifact", "path": self._outbox.keep_file(path), "folder": folder})

    def log_image(self, path: Path) -> None:
        """Remember an image under its file's name, so that the charts of several runs show theirs side by side."""
        self._outbox.append({"kind": "image", "path": self._outbox.keep_file(path), "time_ms": now_ms()})

    def describe(self, text: str) -> None:
        """Let the run's page say this, Markdown, below its links: MLflow's page folds away what is long."""
        self.tag({NOTE_TAG: f"{self._links}\n\n{text}".strip()})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Remember tags."""
        self._outbox.append({"kind": "tags", "tags": dict(tags)})

    def log_text(self, name: str, text: str) -> None:
        """Remember a text as an artifact."""
        self._outbox.append({"kind": "text", "name": name, "text": text})

    def end(self, **how: Any) -> None:
        """Let the run end when all before has arrived; `how` as for `hicmae.tracking.runs.RunStore.end`."""
        self._outbox.append({"kind": "end", "how": how})

    def _log(self, values: Iterable[tuple[str, int, float]]) -> None:
        now = now_ms()
        points = [(tracked_name(name), step, float(value), now) for name, step, value in values]
        for start in range(0, len(points), MAX_POINTS):
            part = points[start : start + MAX_POINTS]
            self._outbox.append({"kind": "metrics", "points": part, "keep_first": self._keep_first})


@contextmanager
def track(
    stage: str, params: Params, dataset: str | None = None, fold: int | None = None, fingerprint: str = ""
) -> Iterator[MlflowTracker | NullTracker]:
    """Open the run that a stage belongs to; it ends FINISHED, FAILED or, after Ctrl-C, KILLED.

    A training that was cut short goes on in its run, keeping the steps it has; one that had finished, or of
    another fingerprint, starts a new run, and the old one is renamed. Other stages always add to the run that
    is there. While MLflow cannot be reached the stage goes on; what is unsent at its end stays in the outbox.

    Args:
        stage: ``pretrain``, ``finetune``, ``evaluate`` or ``summarise``.
        params: All parameters; those that determine the result are logged and make the run's key.
        dataset: The evaluated dataset; None for the pre-training.
        fold: 1-based fold; None for the pre-training and for the study as a whole.
        fingerprint: Of a training, what names its checkpoints: its parameters, data and code.

    Yields:
        The run's tracker. Of a distributed training only the first process has one.

    Raises:
        ValueError: If MLflow cannot be reached at the start, or another process writes the same run.
    """
    if os.environ.get("RANK", "0") != "0":
        yield NullTracker()
        return
    from hicmae.tracking.runs import Delivery, RunStore
    from hicmae.tracking.system_metrics import SystemMetrics

    study = provenance.pretraining(params) if dataset is None else provenance.cross_validation(params, dataset)
    store = RunStore(project_root())
    send_waiting(store)
    with store.lock:
        opened = store.open(stage, study, params, fold, fingerprint)
    run, parent = opened.run, opened.parent
    outbox = _outbox(store, run.info.run_id)
    sender = Sender(outbox, Delivery(store, outbox.folder), store.name)
    tracker = MlflowTracker(opened, outbox)
    summary, packages = provenance.environment(store.root)
    tracker.tag({f"{provenance.ENVIRONMENT_TAG}{stage}": json.dumps(summary)})
    tracker.log_text(f"environment/{stage}.txt", packages)
    system = SystemMetrics(tracker.log_metrics, run.info.start_time)
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        system.stop()
        parent_id = parent.info.run_id if parent else None
        tracker.end(stage=stage, status=status, end_ms=now_ms(), parent_id=parent_id)
        sender.finish(_PATIENCE_WHEN_INTERRUPTED_SECONDS if status == "KILLED" else _PATIENCE_SECONDS)
        outbox.close()


def send_waiting(store: RunStore) -> None:
    """Send what earlier stages could not send to this store; what cannot be sent now goes on waiting."""
    from hicmae.tracking.runs import Delivery

    own_name = store.name_in(project_of(store.root))
    for folder, name in waiting_folders(outboxes(store.root)):
        if name != own_name:
            continue
        try:
            outbox = Outbox(folder, name)
        except Timeout:
            continue  # its stage is running
        log_line(f"sending to MLflow what an earlier stage left in {folder}")
        Sender(outbox, Delivery(store, folder), store.name).finish(_PATIENCE_SECONDS)
        outbox.close()


def outboxes(root: Path) -> Path:
    """Where the outboxes of a project are; those of a queued DVC experiment outlive its temporary copy."""
    return project_of(root) / layout.CHECKPOINTS / "mlflow-outbox"


def project_of(root: Path) -> Path:
    """The project itself, of a queued DVC experiment's temporary copy, too."""
    inside = next((folder for folder in root.parents if folder.name == ".dvc"), None)
    return inside.parent if inside else root


def download_model(run_id: str) -> Path:
    """The model of a fold's run, as a file here.

    Raises:
        ValueError: If there is no such run, or no model in it, or MLflow cannot be reached.
    """
    from hicmae.tracking.store import MlflowStore

    return MlflowStore(project_root()).download(run_id, MODEL_FILE)


def resolve_model(text: str) -> Path:
    """The model that a user names, as a file here.

    Args:
        text: A file, an MLflow run id, or a registered model: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        ValueError: If there is no such model, or MLflow cannot be reached.
    """
    if Path(text).is_file():
        return Path(text)
    if re.fullmatch("[0-9a-f]{32}", text):
        return download_model(text)
    if text.startswith("models:"):
        from hicmae.tracking.model_store import ModelStore
        from hicmae.tracking.store import MlflowStore

        models = ModelStore(MlflowStore(project_root()))
        return models.model_file(models.find(text))
    raise ValueError(
        f"{text}: no such file; a model is a file, an MLflow run id, or a registered one: models:/hicmae-demo@champion"
    )


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _outbox(store: RunStore, run_id: str) -> Outbox:
    try:
        return Outbox(outboxes(store.root) / run_id, store.name_in(project_of(store.root)), _ORPHANS_END_WITHIN_SECONDS)
    except Timeout:
        raise ValueError(f"another process writes MLflow run {run_id}; end it, or wait for it") from None
