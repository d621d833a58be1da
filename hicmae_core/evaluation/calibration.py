"""Whether what a model says can be believed: reliability, as it is and with the temperatures of its folds, and risk.

A temperature is fitted in training, on speakers held out from it (`hicmae_core.model.probabilities`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.fold_results import actual_and_predicted, unit_names
from hicmae_core.model.probabilities import Floats, RiskCoverage, risk_coverage
from hicmae_core.store.manifest import Units

PLAIN, SCALED = "as predicted", "with each fold's temperature"
NUM_BINS = 10
COVERAGES = (1.0, 0.8, 0.5)
"""Shares of predictions whose risk is noted."""


class Reliability(NamedTuple):
    """Units of evaluation sorted into bins; empty bins are left out."""

    said: Floats
    """Mean probability of the predicted class, or mean predicted value, ``[bins]``."""
    true: Floats
    """Fraction that is right, or mean actual value, ``[bins]``."""
    num_units: NDArray[np.int64]
    """``[bins]``."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean gap between the two, each unit counting once."""
        return float(np.average(np.abs(self.said - self.true), weights=self.num_units))


class Calibration(NamedTuple):
    """How far the outputs of a dataset's models can be trusted, by target."""

    curves: Mapping[str, Mapping[str, Reliability]]
    """By target and title."""
    risks: Mapping[str, RiskCoverage]
    """None of values."""
    record: dict[str, Any]
    """Numbers for ``calibration.json``, by target (``classes`` where there is but one label)."""


class Target(NamedTuple):
    """What a table of predictions says of one target's classes, by clip or by unit."""

    log_probabilities: Floats
    """``[N, C]``."""
    labels: NDArray[np.int64]
    """Class ids, ``[N]``."""

    def scaled(self, temperatures: Floats) -> Target:
        """The same with the log-probabilities of each clip divided by a temperature, ``[N]``."""
        return Target(log_softmax(self.log_probabilities / temperatures[:, None], axis=1), self.labels)

    def by_unit(self, units: Units) -> Target:
        """The mean probabilities of each unit's clips."""
        if units.are_clips:
            return self
        return Target(_log(units.mean(np.exp(self.log_probabilities))), self.labels[units.first])

    @property
    def negative_log_likelihood(self) -> float:
        """Mean, nats."""
        return float(-self.log_probabilities[np.arange(len(self.labels)), self.labels].mean())

    @property
    def risk_coverage(self) -> RiskCoverage:
        """What happens when only the surest predictions are given."""
        return risk_coverage(self.log_probabilities.max(axis=1), self.log_probabilities.argmax(axis=1) == self.labels)

    @property
    def reliability(self) -> Reliability:
        """Confidence against accuracy, in bins of equal width."""
        probabilities = np.exp(self.log_probabilities)
        confidence = probabilities.max(axis=1)
        right = (probabilities.argmax(axis=1) == self.labels).astype(np.float64)
        return _binned(confidence, right, np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1))


def targets_of(predictions: pd.DataFrame, dataset: DatasetParams) -> dict[str, Target]:
    """The clips of a table of predictions (`prediction.predict`) by target; that of a classification has no name."""
    found = {}
    for name, suffix in zip(dataset.targets or ("",), dataset.suffixes, strict=True):
        probabilities = predictions[[f"p{suffix}_{label}" for label in dataset.classes]].to_numpy(np.float64)
        found[name] = Target(_log(probabilities), predictions[f"label{suffix}"].to_numpy(np.int64))
    return found


def calibration_of(predictions: pd.DataFrame, dataset: DatasetParams) -> Calibration:
    """How far the outputs can be trusted.

    Of classes: probability against how often it is right, plain and, if every fold has temperatures, scaled by them;
    and how often predictions are wrong when only the surest are given, of the scaled ones if there are. Of values:
    actual against predicted ones, in tenths of the units. Units of evaluation are counted. A temperature is of
    clips: each clip is scaled before the probabilities of a unit's clips are averaged.

    Args:
        predictions: Test predictions of the clips of all folds, with a ``fold`` column.
        dataset: What is predicted.
    """
    curves: dict[str, dict[str, Reliability]]
    risks: dict[str, RiskCoverage] = {}
    units = Units(unit_names(predictions).tolist())
    counts = {"num_clips": len(predictions), "num_units": len(units.first)}
    if dataset.task == "regression":
        actual, predicted = actual_and_predicted(predictions, dataset)
        curves = {
            name: {PLAIN: _by_tenths(predicted[:, index], actual[:, index])}
            for index, name in enumerate(dataset.targets)
        }
        record: dict[str, Any] = dict.fromkeys(curves, counts)
    else:
        curves, record = {}, {}
        for (name, plain), suffix in zip(targets_of(predictions, dataset).items(), dataset.suffixes, strict=True):
            versions = {PLAIN: plain}
            by_fold = _temperatures(predictions, f"temperature{suffix}")
            if by_fold is not None:
                versions[SCALED] = plain.scaled(predictions[f"temperature{suffix}"].to_numpy(np.float64))
            versions = {title: target.by_unit(units) for title, target in versions.items()}
            curves[name] = {title: target.reliability for title, target in versions.items()}
            risks[name] = [*versions.values()][-1].risk_coverage
            likelihoods = {title: target.negative_log_likelihood for title, target in versions.items()}
            record[name or "classes"] = {
                **counts,
                "temperature_by_fold": by_fold,
                "risk_coverage_area": risks[name].area,
                "risk_at_coverage": {
                    f"{share:g}": float(np.interp(share, risks[name].coverage, risks[name].risk)) for share in COVERAGES
                },
                **{
                    title: {
                        "expected_calibration_error": curves[name][title].expected_error,
                        "negative_log_likelihood": likelihood,
                    }
                    for title, likelihood in likelihoods.items()
                },
            }
    return Calibration(curves, risks, record)


def _log(probabilities: Floats) -> Floats:
    """Logs; of a probability of 0, of the smallest number."""
    logs: Floats = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return logs


def _temperatures(predictions: pd.DataFrame, column: str) -> dict[str, float] | None:
    """By fold; None unless every fold has one."""
    if column not in predictions or predictions[column].isna().any():
        return None
    return {str(fold): float(value) for fold, value in predictions.groupby("fold")[column].first().items()}


def _by_tenths(said: Floats, true: Floats) -> Reliability:
    ranks = said.argsort(kind="stable").argsort(kind="stable")
    return _binned(said, true, ranks * NUM_BINS // len(said))


def _binned(said: Floats, true: Floats, bins: NDArray[np.int64]) -> Reliability:
    num_units = np.bincount(bins, minlength=NUM_BINS)
    used = num_units > 0
    sums = (np.bincount(bins, weights=values, minlength=NUM_BINS)[used] for values in (said, true))
    mean_said, mean_true = (values / num_units[used] for values in sums)
    return Reliability(mean_said, mean_true, num_units[used].astype(np.int64))
