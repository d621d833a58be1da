"""Weights against rare classes, counted on the training clips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def class_weights(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """Inverse class frequencies, scaled such that the mean weight of the clips is 1; a class without clips has 0.

    Args:
        labels: Class ids, ``[N]`` or ``[N, targets]``.
        num_classes: Classes of each target.

    Returns:
        ``[targets, num_classes]``, with one target for ``[N]``.

    Raises:
        ValueError: If the labels are not class ids.
    """
    _check_ids(labels)
    counts = np.stack([np.bincount(ids, minlength=num_classes) for ids in labels.reshape(len(labels), -1).T])
    num_present = (counts > 0).sum(axis=1, keepdims=True)
    weights = len(labels) / (num_present * np.maximum(counts, 1)) * (counts > 0)
    return weights.astype(np.float32)


def sampling_weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often to draw each clip such that all classes come equally often, ``[N]``, of class ids ``[N]``.

    Raises:
        ValueError: If the labels are not the class ids of a single target.
    """
    _check_ids(labels)
    if labels.ndim != 1:
        raise ValueError("finetune.class_balance: clips of several targets cannot be drawn evenly; set it to loss")
    counts = np.bincount(labels)
    return 1 / counts[labels]


def _check_ids(labels: NDArray[np.int64]) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError("finetune.class_balance needs classes, but these clips have values; set it to none")
