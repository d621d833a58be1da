"""Means over folds, and intervals by bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.fold_results import actual_and_predicted, by_unit, unit_names
from hicmae_core.evaluation.metrics import (
    NUM_MOMENTS,
    Metrics,
    confusion_cells,
    metrics_from_confusion,
    metrics_from_moments,
    over_targets,
    regression_moments,
)

_RESAMPLES_AT_ONCE = 100


class MeanAndDeviation(NamedTuple):
    """A metric over folds."""

    mean: float
    std: float | None
    """Sample standard deviation (n - 1); None with a single fold."""


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


def over_folds(metrics: Sequence[Mapping[str, float]]) -> dict[str, MeanAndDeviation]:
    """Mean and sample standard deviation of each metric over the folds, each fold counting once."""
    summary = {}
    for name in metrics[0]:
        values = np.array([fold[name] for fold in metrics])
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        summary[name] = MeanAndDeviation(float(values.mean()), std)
    return summary


class GroupSums(NamedTuple):
    """The sums that metrics are made of, one row per group (`resampling_groups`)."""

    sums: NDArray[np.float64] | csr_array
    """`[num_groups, num_sums]`."""
    metrics_of: Callable[[NDArray[np.float64]], Metrics]
    """Metrics of any number of rows of sums `[..., num_sums]`."""


def resampling_groups(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Number what the bootstrap draws, `[num_rows]`: a subject, or a unit of evaluation whose subject is unknown."""
    known = predictions["subject"].notna()
    alone = "unit " + unit_names(predictions).astype(str)
    names = ("subject " + predictions["subject"].astype(str)).where(known, alone)
    return pd.factorize(names)[0].astype(np.int64)


def group_sums(predictions: pd.DataFrame, dataset: DatasetParams) -> GroupSums:
    """Score the units of evaluation of a table of predictions, and sum up within each group.

    Raises:
        ValueError: As `metrics.confusion_matrix` or `metrics.regression_moments`.
    """
    rows = by_unit(predictions, dataset)
    groups = resampling_groups(rows)
    num_rows, num_groups = len(groups), int(groups.max()) + 1
    actual, predicted = actual_and_predicted(rows, dataset)
    if dataset.task == "regression":
        members = csr_array((np.ones(num_rows), (groups, np.arange(num_rows))), shape=(num_groups, num_rows))
        moments = members @ regression_moments(actual, predicted).reshape(num_rows, -1)
        return GroupSums(moments, partial(_metrics, metrics_from_moments, (NUM_MOMENTS, -1), dataset.targets))
    num_targets, num_classes = len(dataset.suffixes), len(dataset.classes)
    cells = confusion_cells(actual, predicted, num_classes).ravel()
    places = np.repeat(groups, num_targets), cells
    counts = csr_array((np.ones(len(cells)), places), shape=(num_groups, num_targets * num_classes**2))
    shape = (num_targets, num_classes, num_classes)
    return GroupSums(counts, partial(_metrics, metrics_from_confusion, shape, dataset.targets))


def _metrics(
    of: Callable[[ArrayLike], Metrics], shape: tuple[int, ...], targets: Sequence[str], sums: NDArray[np.float64]
) -> Metrics:
    """Metrics of rows of sums `[..., num_sums]` whose true shape is `[..., *shape]`."""
    return over_targets(of(sums.reshape(*sums.shape[:-1], *shape)), targets)


def pooled(groups: GroupSums) -> dict[str, float]:
    """Metrics of all units of evaluation taken together."""
    values = groups.metrics_of(np.asarray(groups.sums.sum(axis=0)))
    return {name: float(value) for name, value in values.items()}


def bootstrap_intervals(
    groups: GroupSums, num_samples: int, confidence: float, rng: np.random.Generator
) -> dict[str, Interval] | None:
    """Percentile intervals of the pooled metrics, by drawing whole groups with replacement.

    Clips of one subject are alike, so subjects are drawn, not clips or units of evaluation: each resample has as many
    groups as there are.

    Args:
        groups: Sums per group, from `group_sums`.
        num_samples: Resamples.
        confidence: Level, such as 0.95.
        rng: Source of the draws.

    Returns:
        Interval per metric, or None with a single group, which says nothing about other subjects.
    """
    num_groups = groups.sums.shape[0]
    if num_groups < 2:
        return None
    batches: list[Metrics] = []
    for start in range(0, num_samples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, num_samples - start)
        drawn = rng.integers(num_groups, size=(size, num_groups))
        flat = drawn + num_groups * np.arange(size)[:, None]
        times_drawn = np.bincount(flat.ravel(), minlength=size * num_groups).reshape(size, num_groups)
        batches.append(groups.metrics_of(np.asarray(times_drawn.astype(np.float64) @ groups.sums)))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {
        name: Interval(*(float(end) for end in np.quantile(np.concatenate([batch[name] for batch in batches]), tails)))
        for name in batches[0]
    }


class Difference(NamedTuple):
    """How much better one model does than another on the same clips."""

    value: float
    """First minus second."""
    interval: Interval | None
    """None where a single group was tested."""


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    dataset: DatasetParams,
    metric: str,
    num_samples: int,
    confidence: float,
    rng: np.random.Generator,
) -> Difference:
    """Difference of a pooled metric, with a percentile interval from draws of groups that both models share.

    Args:
        first: Predictions (`prediction.predict`) of one model, or of the models of all folds.
        second: Those of another, for the same clips in the same order.
        dataset: How they are read.
        metric: Such as ``uar``.
        num_samples: Resamples.
        confidence: Level, such as 0.95.
        rng: Source of the draws.

    Raises:
        ValueError: If the clips, their subjects or units differ.
    """
    pairs = [
        {"clip_id": of["clip_id"], "subject": of["subject"], "unit": unit_names(of).astype("object")}
        for of in (first, second)
    ]
    for column, values in pairs[0].items():
        if not values.reset_index(drop=True).equals(pairs[1][column].reset_index(drop=True)):
            raise ValueError(f"paired predictions differ in `{column}`; test both on the same manifest")
    both = [group_sums(predictions, dataset) for predictions in (first, second)]
    value = pooled(both[0])[metric] - pooled(both[1])[metric]
    num_groups = both[0].sums.shape[0]
    if num_groups < 2:
        return Difference(value, None)
    drawn = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=num_samples).astype(np.float64)
    one, other = (groups.metrics_of(np.asarray(drawn @ groups.sums))[metric] for groups in both)
    low, high = np.quantile(one - other, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(value, Interval(float(low), float(high)))
