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


def level_for(held_out: Sequence[Sequence[float]], risk: float) -> float:
    """How sure an answer must be for the share of wrong ones not to exceed `risk`, as far as held-out clips can tell.

    Args:
        held_out: Sureness of each held-out clip's answer, and 1 where it is right, else 0.
        risk: Share of wrong answers that is borne, in 0..1.

    Returns:
        The lowest level at which the held-out answers keep to it; infinite if none does.
    """
    sure, right = np.asarray(held_out, np.float64).T
    curve = risk_coverage(sure, right)
    kept = curve.sureness[curve.risk <= risk]
    return float(kept[-1]) if len(kept) else float("inf")
