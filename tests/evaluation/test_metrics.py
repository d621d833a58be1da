import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from hicmae_core.evaluation.metrics import (
    classification_metrics,
    confusion_matrix,
    metrics_from_confusion,
    metrics_from_moments,
    over_targets,
    regression_metrics,
    regression_moments,
)


def test_classification_is_the_authors(golden):
    expected = json.loads((golden / "metrics.json").read_text())["classification"]
    labels, predictions = expected["target"], expected["prediction"]
    assert confusion_matrix(labels, predictions, 6).tolist() == expected["confusion"]
    metrics = classification_metrics(labels, predictions, 6)
    assert list(metrics) == ["uar", "war", "weighted_f1", "macro_f1"]
    assert metrics == pytest.approx({name: expected[name] for name in metrics}, abs=1e-12)


def test_regression_is_the_authors(golden):
    expected = json.loads((golden / "metrics.json").read_text())["regression"]
    names = ("arousal", "valence", "dominance")
    metrics = regression_metrics(expected["target"], expected["output"], names)
    for metric in ("pcc", "ccc", "rmse", "mae"):
        mean, per_target = expected["metrics"][metric]
        assert metrics[metric] == pytest.approx(mean, abs=1e-6)
        assert [metrics[f"{metric}_{name}"] for name in names] == pytest.approx(per_target, abs=1e-6)


@given(
    st.integers(2, 7).flatmap(lambda c: st.lists(st.tuples(st.integers(0, c - 1), st.integers(0, c - 1)), min_size=1))
)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:The number of unique classes")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_classification_is_sklearns(pairs):
    labels, predictions = np.array(pairs).T
    ours = classification_metrics(labels, predictions, 7)
    assert ours["uar"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, predictions))
    assert ours["war"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predictions))
    for average in ("weighted", "macro"):
        f1 = sklearn_metrics.f1_score(labels, predictions, average=average, zero_division=0)
        assert ours[f"{average}_f1"] == pytest.approx(f1)


def test_many_confusion_matrices_at_once():
    confusions = np.random.default_rng(0).integers(0, 5, size=(3, 2, 4, 4))
    together = metrics_from_confusion(confusions)
    assert together["uar"].shape == (3, 2)
    for index in np.ndindex(3, 2):
        alone = metrics_from_confusion(confusions[index])
        for name, values in together.items():
            assert values[index] == alone[name]


def test_each_target_has_its_own_classification():
    labels, predictions = np.random.default_rng(0).integers(0, 5, size=(2, 60, 2))
    together = classification_metrics(labels, predictions, 5, ("arousal", "valence"))
    assert confusion_matrix(labels, predictions, 5).shape == (2, 5, 5)
    for index, name in enumerate(("arousal", "valence")):
        alone = classification_metrics(labels[:, index], predictions[:, index], 5)
        assert {metric: together[f"{metric}_{name}"] for metric in alone} == alone
    assert together["weighted_f1"] == (together["weighted_f1_arousal"] + together["weighted_f1_valence"]) / 2
    assert list(together)[:5] == ["uar", "war", "weighted_f1", "macro_f1", "uar_arousal"]


@given(st.integers(0, 10_000), st.integers(5, 30), st.floats(-100, 100), st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_regression_is_the_plain_formulas(seed, num_clips, offset, scale):
    rng = np.random.default_rng(seed)
    targets = scale * (offset + rng.normal(size=(num_clips, 2)))
    outputs = targets + scale * rng.normal(size=(num_clips, 2))
    ours = regression_metrics(targets, outputs, ("a", "b"))
    for t, o, name in zip(targets.T, outputs.T, "ab", strict=True):
        covariance = np.cov(t, o)
        ccc = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (t.mean() - o.mean()) ** 2)
        assert ours[f"pcc_{name}"] == pytest.approx(np.corrcoef(t, o)[0, 1], abs=1e-6)
        assert ours[f"ccc_{name}"] == pytest.approx(ccc, abs=1e-6)
        assert ours[f"rmse_{name}"] == pytest.approx(sklearn_metrics.root_mean_squared_error(t, o), rel=1e-6)
        assert ours[f"mae_{name}"] == pytest.approx(sklearn_metrics.mean_absolute_error(t, o))
    assert ours["pcc"] == pytest.approx((ours["pcc_a"] + ours["pcc_b"]) / 2)


@pytest.mark.parametrize("constant", [0.0, 0.1, 123.456])
def test_a_constant_output_correlates_with_nothing(constant):
    targets = np.linspace(-1, 1, 7)[:, None]
    metrics = regression_metrics(targets, np.full((7, 1), constant), ("a",))
    assert metrics["pcc"] == metrics["ccc"] == 0
    assert metrics["mae"] > 0


def test_a_correlation_is_never_above_one():
    """Far from zero, two clips leave few digits to their spread."""
    rng = np.random.default_rng(1)
    targets = 64 + 0.0625 * rng.normal(size=(2, 2))
    outputs = targets + 0.0625 * rng.normal(size=(2, 2))
    metrics = regression_metrics(targets, outputs, ("a", "b"))
    assert all(abs(metrics[f"pcc_{name}"]) <= 1 for name in "ab")


def test_moments_add_up_over_clips():
    rng = np.random.default_rng(0)
    targets, outputs = rng.normal(size=(2, 9, 3))
    parts = regression_moments(targets[:4], outputs[:4]).sum(0) + regression_moments(targets[4:], outputs[4:]).sum(0)
    whole = regression_metrics(targets, outputs, "xyz")
    values = over_targets(metrics_from_moments(parts), "xyz")
    assert {name: float(value) for name, value in values.items()} == pytest.approx(whole)


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([], [], "at least one clip"),
        ([0, 1], [0], "two equal tables"),
        ([0, 4], [0, 1], "labels hold ids from 0 to 4; 4 classes have 0 to 3"),
        ([0, 1], [-1, 1], "predictions hold ids from -1"),
        ([0.5, 1.0], [0, 1], "whole class ids"),
    ],
)
def test_bad_classes_are_refused(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(labels, dtype=None if labels else int), np.array(predictions, dtype=int), 4)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="two equal"):
        regression_moments(np.zeros((3, 2)), np.zeros((3, 1)))
