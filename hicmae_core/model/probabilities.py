"""From outputs for the temporal segments of a clip to the clip's probabilities, calibrated, and how sure they are.

As the authors do, probabilities are averaged, not logits: the softmax of each segment, their mean, then the likeliest
class. Values of a regression are averaged as they are.

A temperature T divides the logits, and changes no prediction (Guo et al., ICML 2017). A clip of several segments has
averaged probabilities; their logarithm takes the place of its logits: each probability becomes p ** (1 / T), and they
are scaled to add up to one. T is fitted by negative log-likelihood on clips that the model neither learned from nor is
tested on.

Abstention: the confidence of a prediction is its probability. The most confident predictions of held-out clips have a
risk, the share that is wrong, at each coverage, the share that is predicted (Geifman and El-Yaniv, NeurIPS 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor

Floats = NDArray[np.float64]

_MAX_LOG_TEMPERATURE = np.log(100.0)


def average_segments(outputs: Tensor, num_classes: int) -> Tensor:
    """The outputs for clips from those for their segments.

    Args:
        outputs: Logits, or a regressor's outputs, ``[..., segments, num_outputs]``.
        num_classes: Of each target; 0 of a regression.

    Returns:
        ``[..., num_outputs]``: for classes the log of the averaged probabilities of each target, which takes the place
        of a clip's logits: its softmax gives the averaged probabilities, and a temperature
        (`hicmae_core.model.probabilities`) divides it. For values their mean.
    """
    if not num_classes:
        return outputs.mean(dim=-2)
    by_target = outputs.unflatten(-1, (-1, num_classes)).log_softmax(dim=-1)  # [..., segments, targets, classes]
    result: Tensor = (by_target.logsumexp(dim=-3) - math.log(outputs.shape[-2])).flatten(-2)
    return result


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature of the smallest negative log-likelihood, between 1/100 and 100.

    The likelihood is a convex function of 1 / T, so there is one minimum. Each label counts as one among as many clips
    as there are, and one more of every class (Platt's correction, 1999): without it a few clips that are all predicted
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


class RiskCoverage(NamedTuple):
    """A curve, when only the surest predictions are given; a point per distinct sureness, the surest first."""

    sureness: Floats
    """Of the least sure prediction that is given."""
    coverage: Floats
    """Share of all clips that is predicted, in 0..1."""
    risk: Floats
    """Share of the given predictions that is wrong, in 0..1."""

    @property
    def area(self) -> float:
        """Mean risk over all coverages, in 0..1; the lower, the better sureness tells right from wrong."""
        return float(np.average(self.risk, weights=np.diff(self.coverage, prepend=0)))


def risk_coverage(sureness: ArrayLike, right: ArrayLike) -> RiskCoverage:
    """The curve of answers.

    Args:
        sureness: Probability of each prediction, ``[N]``, at least one.
        right: Whether it is right, ``[N]``.
    """
    sure, hits = np.asarray(sureness, np.float64), np.asarray(right, np.float64)
    order = np.argsort(-sure, kind="stable")
    given = np.arange(1, len(order) + 1)
    risk = 1 - np.cumsum(hits[order]) / given
    last_of_equals = np.append(np.diff(sure[order]) != 0, True)
    return RiskCoverage(sure[order][last_of_equals], given[last_of_equals] / len(order), risk[last_of_equals])


def abstention_levels(sureness: ArrayLike, right: ArrayLike) -> list[list[float]]:
    """How sure a prediction must be to keep to each risk, as far as these clips can tell; arguments as `risk_coverage`.

    Returns:
        Pairs of a level and the risk at it, from the surest on: the points of the curve after which the risk is never
        as low again. The last level is that at which all are answered.
    """
    curve = risk_coverage(sureness, right)
    lowest_later = np.append(np.minimum.accumulate(curve.risk[::-1])[::-1][1:], np.inf)
    pairs: list[list[float]] = np.stack((curve.sureness, curve.risk), axis=1)[curve.risk < lowest_later].tolist()
    return pairs


def level_for(levels: Sequence[Sequence[float]], risk: float) -> float:
    """The lowest of `abstention_levels` that keeps to `risk`, in 0..1; infinite if none does."""
    return min((level for level, at_level in levels if at_level <= risk), default=float("inf"))
