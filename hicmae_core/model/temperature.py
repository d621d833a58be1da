"""One number that makes a classifier's probabilities as sure as they are right: Guo et al., ICML 2017.

A temperature T divides the logits, and changes no prediction. A clip of several segments has probabilities that are
averaged (`hicmae_core.model.segments`); their logarithm takes the place of its logits, in fitting and in use: each
probability becomes p ** (1 / T), and they are scaled to add up to one. T is fitted by negative log-likelihood on clips
that the model neither learned from nor is tested on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

Floats = NDArray[np.float64]

_MAX_LOG_TEMPERATURE = np.log(100.0)


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature of the smallest negative log-likelihood, between 1/100 and 100.

    The likelihood is a convex function of 1 / T, so there is one minimum. Each label counts as one among as many clips
    as there are, and one more of every class (Platt's correction, 1999): without it a few clips that are all told
    rightly would make the model infinitely sure.

    Args:
        logits: Or log-probabilities, ``[N, C]``.
        labels: Class ids ``[N]``.
    """
    num_clips, num_classes = logits.shape
    wanted = np.full(logits.shape, 1 / (num_clips + num_classes))
    wanted[np.arange(num_clips), labels] *= num_clips + 1

    def loss(log_temperature: float) -> float:
        return float(-(wanted * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    bounds = (-_MAX_LOG_TEMPERATURE, _MAX_LOG_TEMPERATURE)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))
