"""Calibration against closed forms."""

import json

import numpy as np
import pytest
from scipy.special import log_softmax

from hicmae_core.evaluation.calibration import PLAIN, SCALED, Target, targets_of
from hicmae_core.reports.figures import BLUE
from hicmae_core.reports.results import write_calibration
from tests.drawings import areas


def two_classes(probability, num_right, num_clips):
    """Clips that the model is equally sure of, of which some are right."""
    log_probabilities = np.log(np.tile([probability, 1 - probability], (num_clips, 1)))
    return Target(log_probabilities, np.array([0] * num_right + [1] * (num_clips - num_right)))


def test_the_expected_error_is_the_weighted_gap():
    target = joined([two_classes(0.95, 60, 100), two_classes(0.65, 60, 100), two_classes(0.75, 150, 200)])
    assert target.reliability.expected_error == pytest.approx(0.25 * 0.35 + 0.25 * 0.05)
    np.testing.assert_array_equal(target.reliability.num_units, [100, 200, 100])
    np.testing.assert_allclose(target.reliability.true, [0.6, 0.75, 0.6])


def test_full_certainty_has_a_bin():
    assert two_classes(1 - 1e-12, 3, 4).reliability.expected_error == pytest.approx(0.25)


def test_temperatures_of_clips_change_no_prediction():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(4000, 4))
    labels = np.array([rng.choice(4, p=p) for p in np.exp(log_softmax(logits, axis=1))])
    wrong = Target(log_softmax(2.5 * logits, axis=1), labels)
    fixed = wrong.scaled(np.full(4000, 2.5))
    assert fixed.negative_log_likelihood < wrong.negative_log_likelihood
    assert fixed.reliability.expected_error < 0.03 < wrong.reliability.expected_error
    np.testing.assert_array_equal(fixed.log_probabilities.argmax(1), wrong.log_probabilities.argmax(1))


def joined(parts):
    return Target(np.concatenate([p.log_probabilities for p in parts]), np.concatenate([p.labels for p in parts]))


def test_tables_of_predictions_become_targets(emotions, load, predictions_of):
    table = predictions_of(load)
    found = targets_of(table, load)
    assert list(found) == ["arousal", "valence"]
    np.testing.assert_allclose(np.exp(found["valence"].log_probabilities)[:, 1], table["p_valence_mid"])
    np.testing.assert_array_equal(found["valence"].labels, table["label_valence"])
    assert list(targets_of(predictions_of(emotions), emotions)) == [""]


def test_a_study_is_reported_with_its_temperatures_if_every_fold_has_them(emotions, load, predictions_of, tmp_path):
    for dataset in (emotions, load):
        table = predictions_of(dataset).assign(fold=lambda rows: np.arange(len(rows)) % 2 + 1)
        plain = write_calibration(table, dataset, tmp_path)
        names = list(dataset.targets) or ["classes"]
        assert list(plain) == names
        assert all(numbers["temperature_by_fold"] is None and SCALED not in numbers for numbers in plain.values())
        columns = [f"temperature{suffix}" for suffix in dataset.suffixes]
        scaled = write_calibration(table.assign(**dict.fromkeys(columns, table["fold"] * 1.5)), dataset, tmp_path)
        for name, target in zip(names, targets_of(table, dataset).values(), strict=True):
            assert scaled[name][PLAIN] == plain[name][PLAIN]
            assert scaled[name]["temperature_by_fold"] == {"1": 1.5, "2": 3.0}
            expected = target.scaled(table["fold"].to_numpy() * 1.5).negative_log_likelihood
            assert scaled[name][SCALED]["negative_log_likelihood"] == pytest.approx(expected)
        first = scaled[names[0]]["risk_at_coverage"]
        right = table[f"prediction{dataset.suffixes[0]}"] == table[f"label{dataset.suffixes[0]}"]
        assert first["1"] == pytest.approx(1 - right.mean())
        assert json.loads((tmp_path / "calibration.json").read_text()) == scaled
        half = table.assign(**{column: table["fold"].where(table["fold"] == 1) for column in columns})
        assert write_calibration(half, dataset, tmp_path) == plain
        assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_predicted_values_are_compared_with_actual_ones(affect, predictions_of, tmp_path):
    record = write_calibration(predictions_of(affect).assign(fold=1), affect, tmp_path)
    assert list(record) == list(affect.targets)
    assert areas(tmp_path / "reliability.png", BLUE) > 20
