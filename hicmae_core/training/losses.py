"""The objectives of pre-training (paper section 3.2 and 3.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hicmae_core.config import AUDIO_PATCH, VIDEO_PATCH
from hicmae_core.data.augmentation import IMAGENET_MEAN, IMAGENET_STD
from hicmae_core.model.masking import TokenSplit, split_tokens, take
from hicmae_core.model.patches import patchify
from hicmae_core.model.pretraining import PretrainingOutput

_EPSILON = 1e-6


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
    return values.movedim(2, -1).flatten(2)


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
    return centred / (deviation + _EPSILON)


def _mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(prediction.to(target.dtype), target, reduction="mean" if len(target) else "sum")  # 0 of none
