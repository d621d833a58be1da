import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.fold_results import metrics_of
from hicmae_core.evaluation.statistics import (
    bootstrap_intervals,
    group_sums,
    over_folds,
    paired_difference,
    pooled,
    resampling_groups,
)


def test_over_folds():
    values = over_folds([{"uar": 0.5, "war": 0.1}, {"uar": 0.7, "war": 0.1}, {"uar": 0.9, "war": 0.1}])
    assert values["uar"] == pytest.approx((0.7, 0.2))
    assert values["war"] == pytest.approx((0.1, 0.0))


def test_one_fold_has_no_deviation():
    assert over_folds([{"uar": 0.5}])["uar"] == (0.5, None)


def test_clips_without_subject_stand_alone():
    table = pd.DataFrame({"clip_id": ["a", "b", "c", "d", "e"], "subject": ["x", None, "x", None, "b"]})
    groups = resampling_groups(table)
    assert groups[0] == groups[2]
    assert len(set(groups)) == 4


@pytest.mark.parametrize("kind", ["emotions", "load", "affect"])
def test_pooled_is_the_metric_of_all_clips(kind, request, predictions_of):
    dataset = request.getfixturevalue(kind)
    table = predictions_of(dataset)
    assert pooled(group_sums(table, dataset)) == pytest.approx(metrics_of(table, dataset))


@pytest.mark.parametrize("kind", ["emotions", "load", "affect"])
def test_bootstrap_is_the_naive_loop(kind, request, predictions_of):
    """Draw the same groups, put their clips together row by row, and compute every metric anew."""
    dataset = request.getfixturevalue(kind)
    table = predictions_of(dataset)
    intervals = bootstrap_intervals(group_sums(table, dataset), 60, 0.9, np.random.default_rng(3))
    groups = resampling_groups(table)
    num_groups = len(set(groups))
    draws = np.random.default_rng(3).integers(num_groups, size=(60, num_groups))
    resampled = [
        metrics_of(pd.concat([table[groups == group] for group in draw], ignore_index=True), dataset) for draw in draws
    ]
    for name, interval in intervals.items():
        assert interval == pytest.approx(np.quantile([metrics[name] for metrics in resampled], [0.05, 0.95])), name


def test_batches_of_resamples_differ_and_repeat(emotions, predictions_of):
    groups = group_sums(predictions_of(emotions), emotions)
    first, again, other = (bootstrap_intervals(groups, 250, 0.95, np.random.default_rng(seed)) for seed in (0, 0, 1))
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
        interval = bootstrap_intervals(group_sums(table, dataset), 200, 0.9, rng)["war"]
        hits += interval.low <= 0.5 <= interval.high
    assert 0.8 <= hits / 120 <= 0.97


def test_a_single_subject_has_no_interval(emotions, predictions_of):
    table = predictions_of(emotions).assign(subject="s")
    assert bootstrap_intervals(group_sums(table, emotions), 100, 0.95, np.random.default_rng(0)) is None


TWO_CLASSES = DatasetParams(corpus="csv", classes=("a", "b"), num_folds=1)


def answers(is_right: list[list[bool]]) -> pd.DataFrame:
    """A table of predictions: for each subject, which of its clips are right."""
    rows = [
        {
            "clip_id": f"{subject}-{clip}",
            "subject": str(subject),
            "label": clip % 2,
            "prediction": (clip + 1 - right) % 2,
        }
        for subject, clips in enumerate(is_right)
        for clip, right in enumerate(clips)
    ]
    return pd.DataFrame(rows)


def difference(first: pd.DataFrame, second: pd.DataFrame, metric: str = "war"):
    return paired_difference(first, second, TWO_CLASSES, metric, 2000, 0.95, np.random.default_rng(0))


def test_a_model_differs_from_itself_by_nothing(emotions, predictions_of):
    table = predictions_of(emotions)
    found = paired_difference(table, table, emotions, "uar", 500, 0.95, np.random.default_rng(0))
    assert found == (0.0, (0.0, 0.0))


def test_a_model_that_is_better_on_every_subject_is_better_beyond_doubt():
    rng = np.random.default_rng(1)
    worse = rng.random((12, 20)) < 0.5
    better = worse | (rng.random((12, 20)) < 0.5)
    found = difference(answers(better.tolist()), answers(worse.tolist()))
    assert found.value == pytest.approx(better.mean() - worse.mean())
    assert 0 < found.interval.low < found.value < found.interval.high
    back = difference(answers(worse.tolist()), answers(better.tolist()))
    assert back.interval == pytest.approx((-found.interval.high, -found.interval.low))


def test_subjects_are_drawn_not_clips():
    """One subject of five speaks for the first model, on 40 clips: without that subject there is no difference.

    Clips drawn one by one would nearly always hold some of the 40; draws of five subjects lack the one in a third.
    """
    same = [[clip < 20 for clip in range(40)] for _ in range(4)]
    first, second = answers([*same, [True] * 40]), answers([*same, [False] * 40])
    found = difference(first, second)
    assert found.value == pytest.approx(0.2)
    assert found.interval.low == 0
    alone = [table.assign(subject=table["clip_id"]) for table in (first, second)]
    assert difference(*alone).interval.low > 0.1


def test_both_models_are_drawn_the_same_subjects():
    """Subjects differ much more than the models do: unpaired draws could not tell the models apart."""
    rng = np.random.default_rng(2)
    share = rng.uniform(0.1, 0.8, size=(30, 1))
    worse = np.arange(50)[None] < 50 * share
    better = np.arange(50)[None] < 50 * share + 3
    found = difference(answers(better.tolist()), answers(worse.tolist()))
    assert found.value == pytest.approx(0.06, abs=0.001)
    assert found.interval == pytest.approx((0.06, 0.06), abs=0.001)


def test_other_clips_or_subjects_are_refused_and_one_subject_says_nothing(emotions, predictions_of):
    table = predictions_of(emotions)
    for column in ("clip_id", "subject"):
        with pytest.raises(ValueError, match=f"differ in `{column}`"):
            difference(table, table.assign(**{column: "other"}))
    alone = table.assign(subject="s")
    assert paired_difference(alone, alone, emotions, "uar", 100, 0.95, np.random.default_rng(0)) == (0.0, None)
