"""The tracker that a training logs to, and a training's history, one row per epoch, as a file."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hicmae_core.files import atomic_path

if TYPE_CHECKING:
    from hicmae_core.training.learner import Learner, Row


class Tracker(Protocol):
    """Remembers numbers and files of one run.

    A resumed training continues after its last checkpoint, so the same steps and epochs may be
    reported twice, with the same values; an implementation keeps one of each.
    """

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Remember one value of each metric; `step` is the epoch, from 0."""
        ...

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Remember many points of one metric at once; a point is (optimizer step from 0, value)."""
        ...

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Remember a file, as it is now, under `folder`."""
        ...

    def log_image(self, path: Path) -> None:
        """Remember an image, to be compared with those of the same file name of other runs."""
        ...

    def describe(self, text: str) -> None:
        """Say what came of the run, in Markdown."""
        ...


class NullTracker:
    """Remembers nothing."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Forget `values`."""

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Forget `points`."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Leave `path` alone."""

    def log_image(self, path: Path) -> None:
        """Leave `path` alone."""

    def describe(self, text: str) -> None:
        """Forget `text`."""


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one CSV line per epoch, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def summarise(learner: Learner, num_clips: int) -> Row:
    """The last epoch's row, the mean throughput, the number of steps, and the sizes of model and data."""
    rates = [row["samples_per_second"] for row in learner.history]
    return learner.history[-1] | {
        "samples_per_second": statistics.fmean(rates),
        "num_steps": learner.num_steps,
        "num_clips": num_clips,
        "num_parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
    }
