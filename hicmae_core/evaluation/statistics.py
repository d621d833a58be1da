"""Means over folds, and intervals by bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from hicmae_core.config import DatasetParams, SummariseParams
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


class _Scores(NamedTuple):
    by_seed: NDArray[np.float64]
    """Of each seed, all its tested units together, ``[num_seeds]``."""
    value: float
    """Of the predictions of all seeds together."""
    drawn: NDArray[np.float64]
    """Of each bootstrap resample, ``[num_samples]``."""


def compare_arms(
    predictions: Mapping[str, Sequence[pd.DataFrame]],
    baseline: str,
    metric: str,
    dataset: DatasetParams,
    settings: SummariseParams,
    seed: int,
) -> pd.DataFrame:
    """Compare arms that were tested on the same clips, scored by unit, with the same training seeds.

    The bootstrap draws speakers and, independently, training seeds, both with replacement (the pigeonhole bootstrap
    of crossed random effects; Owen 2007, "The pigeonhole bootstrap"): the intervals speak of other speakers and of
    other seeds. All arms are given the same draws, so differences are paired in both.

    Args:
        predictions: By arm, a table of `prediction.predict` per training seed, the seeds in the same order.
        baseline: The arm to which differences are taken.
        metric: A metric of the dataset's task.
        dataset: How the dataset is read and what is predicted.
        settings: Bootstrap resamples and level of the intervals.
        seed: Seed of the bootstrap.

    Returns:
        A row per arm: ``arm``, ``value`` (over the predictions of all seeds), ``std`` (of the seeds' values, n - 1),
        ``low`` and ``high``, then ``difference``, ``difference_low`` and ``difference_high``. NaN where there is one
        seed or speaker only, or no such baseline.

    Raises:
        ValueError: If two tables differ in their clips or units, or arms in their number of seeds.
    """
    tables = {arm: [table.sort_values("clip_id") for table in by_seed] for arm, by_seed in predictions.items()}
    _check_alike(tables)
    scores = {arm: _scores(by_seed, metric, dataset, settings, seed) for arm, by_seed in tables.items()}
    tails = [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2]
    rows = []
    for arm, own in scores.items():
        low, high = np.quantile(own.drawn, tails)
        std = own.by_seed.std(ddof=1) if len(own.by_seed) > 1 else np.nan
        row = {"arm": arm, "value": own.value, "std": std, "low": low, "high": high}
        other = scores.get(baseline)
        if arm != baseline and other is not None:
            difference_low, difference_high = np.quantile(own.drawn - other.drawn, tails)
            row |= {"difference": own.value - other.value}
            row |= {"difference_low": difference_low, "difference_high": difference_high}
        rows.append(row)
    columns = ("arm", "value", "std", "low", "high", "difference", "difference_low", "difference_high")
    return pd.DataFrame(rows).reindex(columns=columns)


def _check_alike(tables: Mapping[str, Sequence[pd.DataFrame]]) -> None:
    first_arm, first = next(iter(tables.items()))
    clips, units = first[0]["clip_id"].tolist(), unit_names(first[0]).tolist()
    for arm, by_seed in tables.items():
        if len(by_seed) != len(first):
            raise ValueError(f"{arm} has {len(by_seed)} seeds, {first_arm} has {len(first)}")
        for table in by_seed:
            if table["clip_id"].tolist() != clips:
                raise ValueError(f"{arm} was not tested on the same clips as {first_arm}; run both again")
            if unit_names(table).tolist() != units:
                raise ValueError(f"{arm} was not scored by the same units as {first_arm}; run both again")


def _scores(
    tables: Sequence[pd.DataFrame], metric: str, dataset: DatasetParams, settings: SummariseParams, seed: int
) -> _Scores:
    groups = [group_sums(table, dataset) for table in tables]
    sums = np.stack([np.asarray(g.sums.todense() if hasattr(g.sums, "todense") else g.sums) for g in groups])
    num_seeds, num_groups, _ = sums.shape
    together = np.asarray(groups[0].metrics_of(sums.sum(axis=(0, 1)))[metric])
    if num_groups < 2:
        drawn = np.full(settings.bootstrap_samples, np.nan)
    else:
        rng = np.random.default_rng(seed)
        of_groups = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=settings.bootstrap_samples)
        of_seeds = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=settings.bootstrap_samples)
        total = np.einsum("rs,rg,sgk->rk", of_seeds, of_groups, sums, optimize=True)
        drawn = np.asarray(groups[0].metrics_of(total)[metric])
    return _Scores(np.array([pooled(group)[metric] for group in groups]), float(together), drawn)
