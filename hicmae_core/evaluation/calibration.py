"""Whether probabilities can be believed: reliability, and one temperature that mends them (Guo et al., 2017).

A temperature T divides the logits. It is fitted by negative log-likelihood on clips that the model neither learned from
nor is tested on; it changes no prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.drawing import BLUE, GREY, ORANGE, save_figure

NUM_BINS = 10
_MAX_LOG_TEMPERATURE = np.log(100.0)

Floats = NDArray[np.float64]


class Reliability(NamedTuple):
    """Clips sorted into bins of equal width by the probability of the predicted class; empty bins are left out."""

    confidence: Floats
    """Mean probability of the predicted class, ``[bins]``."""
    accuracy: Floats
    """Fraction that is right, ``[bins]``."""
    num_clips: NDArray[np.int64]
    """``[bins]``."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean gap between confidence and accuracy, each clip counting once."""
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.num_clips))


class Target(NamedTuple):
    """What a table of predictions says of one target."""

    log_probabilities: Floats
    """``[num_clips, C]``."""
    labels: NDArray[np.int64]
    """Class ids, ``[num_clips]``."""

    def scaled(self, temperature: float) -> Target:
        """The same with the logits divided by a temperature."""
        return Target(log_softmax(self.log_probabilities / temperature, axis=1), self.labels)

    @property
    def negative_log_likelihood(self) -> float:
        """Mean over the clips, nats."""
        return float(-self.log_probabilities[np.arange(len(self.labels)), self.labels].mean())

    @property
    def reliability(self) -> Reliability:
        """Confidence against accuracy."""
        probabilities = np.exp(self.log_probabilities)
        confidence = probabilities.max(axis=1)
        right = (probabilities.argmax(axis=1) == self.labels).astype(np.float64)
        bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
        num_clips = np.bincount(bins, minlength=NUM_BINS)
        used = num_clips > 0
        sums = (np.bincount(bins, weights=values, minlength=NUM_BINS)[used] for values in (confidence, right))
        mean_confidence, accuracy = (values / num_clips[used] for values in sums)
        return Reliability(mean_confidence, accuracy, num_clips[used].astype(np.int64))


def targets_of(predictions: pd.DataFrame, dataset: DatasetParams) -> dict[str, Target]:
    """A table of predictions (`prediction.predict`) by target; that of a classification has no name.

    Raises:
        ValueError: If the dataset's values are not classes.
    """
    if dataset.task not in ("classification", "multi_classification"):
        raise ValueError(f"a {dataset.task} has no probabilities to calibrate")
    found = {}
    for name, suffix in zip(dataset.targets or ("",), dataset.suffixes, strict=True):
        probabilities = predictions[[f"p{suffix}_{label}" for label in dataset.classes]].to_numpy(np.float64)
        tiny = np.finfo(np.float64).tiny
        found[name] = Target(np.log(np.maximum(probabilities, tiny)), predictions[f"label{suffix}"].to_numpy(np.int64))
    return found


def fit_temperature(target: Target) -> float:
    """The temperature of the smallest negative log-likelihood, between 1/100 and 100.

    The likelihood is a convex function of 1 / T, so there is one minimum.
    """
    found = minimize_scalar(
        lambda log_temperature: target.scaled(float(np.exp(log_temperature))).negative_log_likelihood,
        bounds=(-_MAX_LOG_TEMPERATURE, _MAX_LOG_TEMPERATURE),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(found.x))


def joined(parts: Sequence[Target]) -> Target:
    """Clips of several folds together."""
    return Target(np.concatenate([p.log_probabilities for p in parts]), np.concatenate([p.labels for p in parts]))


def plot_reliability(curves: dict[str, dict[str, Reliability]], path: Path) -> None:
    """Draw accuracy against confidence: a panel per target, in it a curve by title; marks grow with their clips.

    Args:
        curves: By target and title; at most two titles.
        path: PNG to write.
    """
    figure = Figure(figsize=(4.4 * len(curves), 4.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(curves)))
    for axes, (name, by_title) in zip(panels, curves.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="as right as it is sure")
        for (title, curve), colour in zip(by_title.items(), (BLUE, ORANGE), strict=False):
            label = f"{title}: ECE {100 * curve.expected_error:.1f} %"
            axes.plot(curve.confidence, curve.accuracy, color=colour, linewidth=1.5, label=label)
            axes.scatter(
                curve.confidence, curve.accuracy, s=12 + 200 * curve.num_clips / curve.num_clips.sum(), c=colour
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="probability of the predicted class", title=name)
        axes.legend(loc="upper left", fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("fraction that is right")
    save_figure(figure, path)
