"""Temperatures against closed forms."""

import numpy as np
import pytest
from scipy.special import log_softmax

from hicmae_core.model.probabilities import fit_temperature


def logit(p):
    return np.log(p / (1 - p))


@pytest.mark.parametrize(
    ("sure", "num_right", "num_clips"), [(0.95, 700, 1000), (0.6, 90, 100), (0.8, 8, 10), (0.9, 5, 5)]
)
def test_the_temperature_of_equally_sure_clips_has_a_closed_form(sure, num_right, num_clips):
    logits = np.tile([logit(sure), 0.0], (num_clips, 1))
    labels = np.array([0] * num_right + [1] * (num_clips - num_right))
    share = num_right / num_clips
    wanted = (num_clips * share + 1) / (num_clips + 2)  # one more clip of every class
    assert fit_temperature(logits, labels) == pytest.approx(logit(sure) / logit(wanted), rel=1e-4)


def test_the_temperature_that_logits_were_multiplied_by_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(40_000, 4))
    labels = np.array([rng.choice(4, p=p) for p in np.exp(log_softmax(logits, axis=1))])
    assert fit_temperature(2.5 * logits, labels) == pytest.approx(2.5, rel=0.03)
    assert fit_temperature(log_softmax(2.5 * logits, axis=1), labels) == pytest.approx(2.5, rel=0.03)
