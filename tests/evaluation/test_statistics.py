import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.fold_results import metrics_of
from hicmae_core.evaluation.statistics import bootstrap_intervals, over_folds, pooled, resampling_units, unit_sums


def test_over_folds():
    values = over_folds([{"uar": 0.5, "war": 0.1}, {"uar": 0.7, "war": 0.1}, {"uar": 0.9, "war": 0.1}])
    assert values["uar"] == pytest.approx((0.7, 0.2))
    assert values["war"] == pytest.approx((0.1, 0.0))


def test_one_fold_has_no_deviation():
    assert over_folds([{"uar": 0.5}])["uar"] == (0.5, None)


def test_clips_without_subject_stand_alone():
    table = pd.DataFrame({"clip_id": ["a", "b", "c", "d", "e"], "subject": ["x", None, "x", None, "b"]})
    units = resampling_units(table)
    assert units[0] == units[2]
    assert len(set(units)) == 4


@pytest.mark.parametrize("kind", ["emotions", "load", "affect"])
def test_pooled_is_the_metric_of_all_clips(kind, request, predictions_of):
    dataset = request.getfixturevalue(kind)
    table = predictions_of(dataset)
    assert pooled(unit_sums(table, dataset)) == pytest.approx(metrics_of(table, dataset))


@pytest.mark.parametrize("kind", ["emotions", "load", "affect"])
def test_bootstrap_is_the_naive_loop(kind, request, predictions_of):
    """Draw the same units, put their clips together row by row, and compute every metric anew."""
    dataset = request.getfixturevalue(kind)
    table = predictions_of(dataset)
    intervals = bootstrap_intervals(unit_sums(table, dataset), 60, 0.9, np.random.default_rng(3))
    units = resampling_units(table)
    num_units = len(set(units))
    draws = np.random.default_rng(3).integers(num_units, size=(60, num_units))
    resampled = [
        metrics_of(pd.concat([table[units == unit] for unit in draw], ignore_index=True), dataset) for draw in draws
    ]
    for name, interval in intervals.items():
        assert interval == pytest.approx(np.quantile([metrics[name] for metrics in resampled], [0.05, 0.95])), name


def test_batches_of_resamples_differ_and_repeat(emotions, predictions_of):
    units = unit_sums(predictions_of(emotions), emotions)
    first, again, other = (bootstrap_intervals(units, 250, 0.95, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_interval_holds_the_truth_as_often_as_it_says():
    """Clips of a subject share their fate: drawing clips instead of subjects would be far too sure."""
    dataset = DatasetParams(corpus="csv", classes=("a", "b"), num_folds=1)
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(120):
        right = np.repeat(rng.beta(2, 2, size=40), 10) > rng.random(400)
        labels = rng.integers(2, size=400)
        table = pd.DataFrame(
            {
                "clip_id": np.arange(400).astype(str),
                "subject": np.repeat(np.arange(40), 10).astype(str),
                "label": labels,
                "prediction": np.where(right, labels, 1 - labels),
            }
        )
        interval = bootstrap_intervals(unit_sums(table, dataset), 200, 0.9, rng)["war"]
        hits += interval.low <= 0.5 <= interval.high
    assert 0.8 <= hits / 120 <= 0.97


def test_a_single_subject_has_no_interval(emotions, predictions_of):
    table = predictions_of(emotions).assign(subject="s")
    assert bootstrap_intervals(unit_sums(table, emotions), 100, 0.95, np.random.default_rng(0)) is None
