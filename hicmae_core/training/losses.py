"""Losses of pre-training (paper section 3.2 and 3.4) and of fine-tuning, and weights against rare classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hicmae_core.config import AUDIO_PATCH, VIDEO_PATCH, RegressionLoss
from hicmae_core.data.augmentation import IMAGENET_MEAN, IMAGENET_STD
from hicmae_core.model.encoder import patchify
from hicmae_core.model.masking import TokenSplit, split_tokens, take
from hicmae_core.model.pretraining import PretrainingOutput, all_gather_with_grad

_EPSILON = 1e-6

_DISTANCES = {"mse": F.mse_loss, "l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss}
_CORRELATION_EPSILON = 1e-8


def video_targets(
    video: Tensor,
    video_mask: Tensor | TokenSplit,
    frame_difference: bool = True,
    patch: tuple[int, int, int] = VIDEO_PATCH,
) -> Tensor:
    """Masked video patches, standardised per patch and colour.

    Args:
        video: ImageNet-normalised clips ``[B, 3, T, H, W]``.
        video_mask: ``[B, N]``, 1 where masked, or the split of the tokens.
        frame_difference: Replace each tubelet's second frame by its difference to the first.
        patch: Frames, rows and columns of a patch.

    Returns:
        ``[B, masked, 3 * pixels]``; a patch's values are ordered (frame, row, column, colour).
    """
    masked = split_tokens(video_mask)[1]
    patches = patchify(video, patch)
    patches = take(patches.flatten(2), masked).unflatten(-1, patches.shape[2:]).flatten(3)
    mean, std = (patches.new_tensor(values)[:, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    values = _standardise(patches * std + mean).unflatten(-1, (patch[0], -1))
    if frame_difference:
        first, second = values.unbind(dim=-2)
        values = torch.stack((first, second - first), dim=-2)
    result: Tensor = values.movedim(2, -1).flatten(2)
    return result


def audio_targets(audio: Tensor, audio_mask: Tensor | TokenSplit, patch: tuple[int, int] = AUDIO_PATCH) -> Tensor:
    """Masked spectrogram patches, standardised per patch.

    Args:
        audio: Normalised log-mel spectrograms ``[B, 1, time, mel]``.
        audio_mask: ``[B, N]``, 1 where masked, or the split of the tokens.
        patch: Log-mel frames and mel bins of a patch.

    Returns:
        ``[B, masked, values]``; a patch's values are ordered (time, mel).
    """
    patches = patchify(audio, patch).flatten(2)
    return _standardise(take(patches, split_tokens(audio_mask)[1]))


def contrastive_loss(logits: Tensor | Sequence[Tensor]) -> Tensor:
    """Symmetric InfoNCE of matching rows and columns; for several levels, their sum.

    Args:
        logits: ``[B, B]``, already divided by the temperature, or one such matrix per level. Of no clip it is 0.
    """
    if not isinstance(logits, Tensor):
        return torch.stack([contrastive_loss(level) for level in logits]).sum()
    if not len(logits):
        return logits.sum()
    matches = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, matches) + F.cross_entropy(logits.T, matches))


def pretraining_loss(
    out: PretrainingOutput,
    video: Tensor,
    video_mask: Tensor | TokenSplit,
    audio: Tensor,
    audio_mask: Tensor | TokenSplit,
    contrastive_weight: float,
    frame_difference: bool,
    patches: tuple[tuple[int, int, int], tuple[int, int]] = (VIDEO_PATCH, AUDIO_PATCH),
) -> dict[str, Tensor]:
    """Reconstruction of both modalities plus the weighted contrast, from a model's output and its inputs.

    `patches` are the sizes of the model's video and audio patches.

    Returns:
        Scalars: `video` and `audio` mean squared errors, `contrastive` summed over levels, and their `total`.
    """
    losses = {
        "video": _mean_squared_error(out.video, video_targets(video, video_mask, frame_difference, patches[0])),
        "audio": _mean_squared_error(out.audio, audio_targets(audio, audio_mask, patches[1])),
        "contrastive": contrastive_loss(out.contrastive_logits),
    }
    total = losses["video"] + losses["audio"] + contrastive_weight * losses["contrastive"]
    return {"total": total, **losses}


def _standardise(values: Tensor) -> Tensor:
    """Zero mean and unit (unbiased) standard deviation over the last axis."""
    centred = values - values.mean(dim=-1, keepdim=True)
    deviation = centred.norm(dim=-1, keepdim=True) / math.sqrt(values.shape[-1] - 1)
    result: Tensor = centred / (deviation + _EPSILON)
    return result


def _mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(prediction.to(target.dtype), target, reduction="mean" if len(target) else "sum")  # 0 of none


def smooth_one_hot(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Class ids ``[...]`` as distributions ``[..., num_classes]``; `smoothing` is spread over all classes evenly."""
    return F.one_hot(labels, num_classes).float() * (1 - smoothing) + smoothing / num_classes


def classification_loss(logits: Tensor, distributions: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, the mean over clips and targets.

    Args:
        logits: ``[B, targets, classes]``.
        distributions: Label distributions of the same shape.
        class_weights: Weight of each target's classes, ``[targets, classes]`` (`class_weights`); None is 1.
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
        outputs, targets = all_gather_with_grad(outputs), all_gather_with_grad(targets)
    return regression_loss(outputs, targets, kind)


def _correlation(outputs: Tensor, targets: Tensor) -> Tensor:
    o, t = (values - values.mean(dim=0) for values in (outputs, targets))
    return F.cosine_similarity(o, t, dim=0, eps=_CORRELATION_EPSILON)


def _concordance(outputs: Tensor, targets: Tensor) -> Tensor:
    distance = outputs.mean(dim=0) - targets.mean(dim=0)
    o, t = (values - values.mean(dim=0) for values in (outputs, targets))
    degrees = max(len(outputs) - 1, 1)
    covariance, variances = (o * t).sum(dim=0) / degrees, (o * o + t * t).sum(dim=0) / degrees
    return 2 * covariance / torch.clamp(variances + distance**2, min=_CORRELATION_EPSILON)


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
    result: NDArray[np.float32] = weights.astype(np.float32)
    return result


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
