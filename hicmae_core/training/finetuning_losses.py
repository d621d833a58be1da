"""The objectives of fine-tuning: cross-entropy of classes, distances and correlations of values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hicmae_core.config import RegressionLoss
from hicmae_core.model.gathering import rows_of_all_processes

_DISTANCES = {"mse": F.mse_loss, "l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss}
_EPSILON = 1e-8


def smooth_one_hot(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Class ids ``[...]`` as distributions ``[..., num_classes]``; `smoothing` is spread over all classes evenly."""
    return F.one_hot(labels, num_classes).float() * (1 - smoothing) + smoothing / num_classes


def classification_loss(logits: Tensor, distributions: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, the mean over clips and targets.

    Args:
        logits: ``[B, targets, classes]``.
        distributions: Label distributions of the same shape.
        class_weights: Weight of each target's classes, ``[targets, classes]`` (`balance.class_weights`); None is 1.
    """
    terms = distributions * logits.log_softmax(dim=-1)
    if class_weights is not None:
        terms = terms * class_weights
    return -terms.sum(dim=-1).mean()


def regression_loss(outputs: Tensor, targets: Tensor, kind: RegressionLoss) -> Tensor:
    """A distance of two ``[B, targets]`` tables, or 1 minus their correlation over the batch.

    ``ccc`` (Lin's concordance) and ``pcc`` (Pearson's correlation) are those of `evaluation.metrics`, of each target
    over the clips, then averaged over the targets. Something constant correlates with nothing: its coefficient is 0,
    its gradient finite.
    """
    if kind in _DISTANCES:
        return _DISTANCES[kind](outputs, targets)
    coefficient = _concordance(outputs, targets) if kind == "ccc" else _correlation(outputs, targets)
    return 1 - coefficient.mean()


def shared_regression_loss(outputs: Tensor, targets: Tensor, kind: RegressionLoss) -> Tensor:
    """What, averaged over processes that train together, is the `regression_loss` of the clips of all of them."""
    if kind not in _DISTANCES:
        outputs, targets = rows_of_all_processes(outputs), rows_of_all_processes(targets)
    return regression_loss(outputs, targets, kind)


def _correlation(outputs: Tensor, targets: Tensor) -> Tensor:
    o, t = (values - values.mean(dim=0) for values in (outputs, targets))
    return F.cosine_similarity(o, t, dim=0, eps=_EPSILON)


def _concordance(outputs: Tensor, targets: Tensor) -> Tensor:
    distance = outputs.mean(dim=0) - targets.mean(dim=0)
    o, t = (values - values.mean(dim=0) for values in (outputs, targets))
    degrees = max(len(outputs) - 1, 1)
    covariance, variances = (o * t).sum(dim=0) / degrees, (o * o + t * t).sum(dim=0) / degrees
    return 2 * covariance / torch.clamp(variances + distance**2, min=_EPSILON)
