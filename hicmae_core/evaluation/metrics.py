"""The metrics of the paper (section 4.1), each from sums that add up over clips.

A confusion matrix, or a table of moments, is all a metric needs. Both add up over clips, so pooled values are
metrics of a sum over folds, and a bootstrap resample is a weighted sum over subjects (`statistics`): every
function here that takes such sums takes any number of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TITLES = {"uar": "UAR", "war": "WAR", "weighted_f1": "weighted F1", "macro_f1": "macro F1"}

NUM_MOMENTS = 7
_ZERO_VARIANCE = 1e-12
"""A variance below this share of the mean square is rounding, not spread."""


Metrics = dict[str, NDArray[np.float64]]
"""Metrics by name, of as many sums as there are."""


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Count clips by actual class (rows) and predicted class (columns).

    Args:
        labels: Class ids, `[num_clips]`, or `[num_clips, num_targets]`.
        predictions: Class ids of the same shape.
        num_classes: Number of classes C.

    Returns:
        `[C, C]` counts, or `[num_targets, C, C]`.

    Raises:
        ValueError: If there are no clips, the shapes differ, or an id is outside 0 .. C-1.
    """
    cells = confusion_cells(labels, predictions, num_classes)
    shape = (*cells.shape[1:], num_classes, num_classes)
    return np.bincount(cells.ravel(), minlength=int(np.prod(shape))).reshape(shape).astype(np.int64)


def confusion_cells(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Cells of the flattened `confusion_matrix` that each clip falls into, of the labels' shape; raises as it."""
    actual, predicted = np.asarray(labels), np.asarray(predictions)
    if actual.ndim not in (1, 2) or actual.shape != predicted.shape or actual.size == 0:
        raise ValueError(
            f"labels of shape {actual.shape} and predictions of shape {predicted.shape}: "
            "metrics need two equal tables of at least one clip"
        )
    for name, ids in (("labels", actual), ("predictions", predicted)):
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{name} must be whole class ids, not {ids.dtype}")
        if ids.min() < 0 or ids.max() >= num_classes:
            raise ValueError(
                f"{name} hold ids from {ids.min()} to {ids.max()}; {num_classes} classes have 0 to {num_classes - 1}"
            )
    first_cells = np.arange(int(np.prod(actual.shape[1:]))) * num_classes**2  # of each target's matrix
    return actual.astype(np.int64) * num_classes + predicted.astype(np.int64) + first_cells


def metrics_from_confusion(confusion: ArrayLike) -> Metrics:
    """Classification metrics of one or many confusion matrices `[..., C, C]`, as fractions of shape `[...]`.

    - ``uar``: unweighted average recall, the mean recall of the classes that occur.
    - ``war``: weighted average recall, which is accuracy.
    - ``weighted_f1``: F1 weighted by the number of clips of each class.
    - ``macro_f1``: mean F1 of the classes that occur or are predicted.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    correct = np.diagonal(counts, axis1=-2, axis2=-1)
    actual, predicted = counts.sum(-1), counts.sum(-2)
    recall = _ratio(correct, actual)
    f1 = _ratio(2 * correct, actual + predicted)
    return {
        "uar": _ratio(recall.sum(-1), (actual > 0).sum(-1)),
        "war": _ratio(correct.sum(-1), actual.sum(-1)),
        "weighted_f1": _ratio((f1 * actual).sum(-1), actual.sum(-1)),
        "macro_f1": _ratio(f1.sum(-1), (actual + predicted > 0).sum(-1)),
    }


def over_targets(by_target: Metrics, names: Sequence[str]) -> Metrics:
    """Means of metrics `[..., num_targets]` over the targets, then ``<metric>_<name>`` of each target, all `[...]`.

    Args:
        by_target: Metrics by name.
        names: Names of the targets; none for the single label of a classification, of which the mean is all there is.
    """
    metrics = {metric: values.mean(-1) for metric, values in by_target.items()}
    for metric, values in by_target.items():
        metrics |= {f"{metric}_{name}": values[..., index] for index, name in enumerate(names)}
    return metrics


def classification_metrics(
    labels: ArrayLike, predictions: ArrayLike, num_classes: int, names: Sequence[str] = ()
) -> dict[str, float]:
    """UAR, WAR, weighted and macro F1 of class ids `[num_clips]`, or of `[num_clips, num_targets]` as `over_targets`.

    Raises:
        ValueError: As `confusion_matrix`.
    """
    confusion = confusion_matrix(labels, predictions, num_classes).reshape(-1, num_classes, num_classes)
    values = over_targets(metrics_from_confusion(confusion), names)
    return {name: float(value) for name, value in values.items()}


def regression_moments(targets: ArrayLike, outputs: ArrayLike) -> NDArray[np.float64]:
    """What regression metrics need of each clip: 1, t, o, t², o², t·o and |t - o|.

    Args:
        targets: Actual values t, `[num_clips, num_targets]`.
        outputs: Predicted values o, `[num_clips, num_targets]`.

    Returns:
        `[num_clips, 7, num_targets]`, to be summed over clips.

    Raises:
        ValueError: If there are no clips or the shapes differ.
    """
    t, o = np.asarray(targets, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    if t.ndim != 2 or t.shape != o.shape or t.size == 0:
        raise ValueError(
            f"targets of shape {t.shape} and outputs of shape {o.shape}: "
            "metrics need two equal [num_clips, num_targets] tables of at least one clip"
        )
    return np.stack([np.ones_like(t), t, o, t * t, o * o, t * o, np.abs(t - o)], axis=1)


def metrics_from_moments(moments: ArrayLike) -> Metrics:
    """Regression metrics of one or many summed moment tables `[..., 7, num_targets]`, each `[..., num_targets]`.

    ``pcc`` (Pearson's correlation), ``ccc`` (Lin's concordance), ``rmse`` and ``mae``. Variances and covariance divide
    by n - 1, as the authors' do. A correlation with something constant counts as 0.
    """
    sums = np.asarray(moments, dtype=np.float64)
    count = sums[..., 0, :]
    mean_t, mean_o, square_t, square_o, product, absolute_error = (
        _ratio(sums[..., moment, :], count) for moment in range(1, NUM_MOMENTS)
    )
    unbiased = _ratio(count, count - 1)
    variance_t, variance_o = unbiased * _variance(square_t, mean_t), unbiased * _variance(square_o, mean_o)
    covariance = np.where((variance_t > 0) & (variance_o > 0), unbiased * (product - mean_t * mean_o), 0.0)
    return {
        "pcc": np.clip(_ratio(covariance, np.sqrt(variance_t * variance_o)), -1, 1),
        "ccc": _ratio(2 * covariance, variance_t + variance_o + (mean_t - mean_o) ** 2),
        "rmse": np.sqrt(np.maximum(square_t - 2 * product + square_o, 0.0)),
        "mae": absolute_error,
    }


def regression_metrics(targets: ArrayLike, outputs: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """PCC, CCC, RMSE and MAE of `[num_clips, num_targets]` values, as `over_targets`.

    Raises:
        ValueError: As `regression_moments`.
    """
    values = over_targets(metrics_from_moments(regression_moments(targets, outputs).sum(axis=0)), names)
    return {name: float(value) for name, value in values.items()}


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """Quotient that is 0 where the denominator is."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    result: NDArray[np.float64] = np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0)
    return result


def _variance(mean_square: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    variance = mean_square - mean**2
    return np.where(variance > _ZERO_VARIANCE * mean_square, variance, 0.0)


def title(metric: str) -> str:
    """How a metric is called in reports: ``pcc_arousal`` is ``PCC arousal``."""
    for key, name in _TITLES.items():
        if metric.startswith(key):
            return f"{name} {metric[len(key) + 1 :]}".strip()
    return " ".join([metric.split("_")[0].upper(), *metric.split("_")[1:]])
