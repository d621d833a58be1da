"""How entries of an outbox get into a run of an MLflow store, once, however often they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from PIL import Image, UnidentifiedImageError

from hicmae.tracking.outbox import Entry
from hicmae.tracking.runs import RunStore
from hicmae.tracking.sender import Refused, reason
from hicmae_core.files import sha256_of

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
