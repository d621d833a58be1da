"""When a classifier had better not answer: how sure it is, against how often it is wrong when as sure.

A model is as sure as the probability of its answer. Answers of clips that it neither learned from nor is tested on, the
surest first, have a risk, the share that is wrong, at each coverage, the share that is answered (Geifman and El-Yaniv,
NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class RiskCoverage(NamedTuple):
    """A curve: what happens when only the surest answers are given; a point per distinct sureness, the surest first."""

    sureness: Floats
    """Of the least sure answer that is given."""
    coverage: Floats
    """Share of all clips that is answered, in 0..1."""
    risk: Floats
    """Share of the given answers that is wrong, in 0..1."""

    @property
    def area(self) -> float:
        """Mean risk over all coverages, in 0..1; the lower, the better sureness tells right from wrong."""
        return float(np.average(self.risk, weights=np.diff(self.coverage, prepend=0)))


def risk_coverage(sureness: ArrayLike, right: ArrayLike) -> RiskCoverage:
    """The curve of answers.

    Args:
        sureness: Probability of each answer, ``[N]``, at least one.
        right: Whether it is right, ``[N]``.
    """
    sure, hits = np.asarray(sureness, np.float64), np.asarray(right, np.float64)
    order = np.argsort(-sure, kind="stable")
    given = np.arange(1, len(order) + 1)
    risk = 1 - np.cumsum(hits[order]) / given
    last_of_equals = np.append(np.diff(sure[order]) != 0, True)
    return RiskCoverage(sure[order][last_of_equals], given[last_of_equals] / len(order), risk[last_of_equals])


def abstention_levels(sureness: ArrayLike, right: ArrayLike) -> list[list[float]]:
    """How sure an answer must be to keep to each risk, as far as these clips can tell; arguments as `risk_coverage`.

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
