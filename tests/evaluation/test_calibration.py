"""Calibration against closed forms."""

import numpy as np
import pytest
from scipy.special import log_softmax

from hicmae_core.evaluation.calibration import Target, fit_temperature, joined, plot_reliability, targets_of


def two_classes(probability, num_right, num_clips):
    """Clips that the model is equally sure of, of which some are right."""
    log_probabilities = np.log(np.tile([probability, 1 - probability], (num_clips, 1)))
    return Target(log_probabilities, np.array([0] * num_right + [1] * (num_clips - num_right)))


def logit(p):
    return np.log(p / (1 - p))


def test_the_expected_error_is_the_weighted_gap():
    target = joined([two_classes(0.95, 60, 100), two_classes(0.65, 60, 100), two_classes(0.75, 150, 200)])
    assert target.reliability.expected_error == pytest.approx(0.25 * 0.35 + 0.25 * 0.05)
    np.testing.assert_array_equal(target.reliability.num_clips, [100, 200, 100])
    np.testing.assert_allclose(target.reliability.accuracy, [0.6, 0.75, 0.6])


def test_full_certainty_has_a_bin():
    assert two_classes(1 - 1e-12, 3, 4).reliability.expected_error == pytest.approx(0.25)


@pytest.mark.parametrize(("sure", "right"), [(0.95, 0.7), (0.6, 0.9), (0.8, 0.8)])
def test_the_temperature_of_equally_sure_clips_has_a_closed_form(sure, right):
    target = two_classes(sure, round(right * 1000), 1000)
    temperature = fit_temperature(target)
    assert temperature == pytest.approx(logit(sure) / logit(right), rel=1e-4)
    assert target.scaled(temperature).reliability.expected_error == pytest.approx(0, abs=1e-4)


def test_the_temperature_that_logits_were_multiplied_by_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(40_000, 4))
    labels = np.array([rng.choice(4, p=p) for p in np.exp(log_softmax(logits, axis=1))])
    wrong = Target(log_softmax(2.5 * logits, axis=1), labels)
    assert fit_temperature(wrong) == pytest.approx(2.5, rel=0.03)
    mended = wrong.scaled(fit_temperature(wrong))
    assert mended.negative_log_likelihood < wrong.negative_log_likelihood
    assert mended.reliability.expected_error < 0.01 < wrong.reliability.expected_error
    np.testing.assert_array_equal(mended.log_probabilities.argmax(1), wrong.log_probabilities.argmax(1))


def test_tables_of_predictions_become_targets(emotions, load, affect, predictions_of, tmp_path):
    table = predictions_of(load)
    found = targets_of(table, load)
    assert list(found) == ["arousal", "valence"]
    np.testing.assert_allclose(np.exp(found["valence"].log_probabilities)[:, 1], table["p_valence_mid"])
    np.testing.assert_array_equal(found["valence"].labels, table["label_valence"])
    assert list(targets_of(predictions_of(emotions), emotions)) == [""]
    with pytest.raises(ValueError, match="regression has no probabilities"):
        targets_of(predictions_of(affect), affect)

    curves = {
        name: {"as it is": target.reliability, "T = 2": target.scaled(2).reliability} for name, target in found.items()
    }
    plot_reliability(curves, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")
