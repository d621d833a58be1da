"""Arms of an experiment against each other, over the same speakers and the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hicmae_core.config import DatasetParams, SummariseParams
from hicmae_core.evaluation.fold_results import unit_names
from hicmae_core.evaluation.statistics import group_sums, pooled


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
