"""A training's history, one row per epoch, as a file and in short."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from hicmae_core.files import atomic_path
from hicmae_core.training.learner import Learner, Row


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
