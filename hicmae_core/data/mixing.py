"""Mixup and cutmix of audio-visual clips: both modalities and the labels share one lambda."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hicmae_core.config import AugmentationParams


def mix(
    video: Tensor, audio: Tensor, targets: Tensor, params: AugmentationParams, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix each clip with the one at the mirrored place in the batch.

    Mixup blends whole clips; cutmix pastes a box of the other clip into every frame and blends the sound
    with the share of the picture that is left. Where both are on, either is used half of the time.

    Args:
        video: ``[B, 3, T, H, W]``.
        audio: ``[B, 1, time, mel]``.
        targets: ``[B, classes]`` label distributions.
        params: `mixup` and `cutmix` are the Beta distributions' parameters, 0 is off; without `mix_audio` the
            sound stays as it is, which is what the authors' release does.
        generator: Source of all choices.

    Returns:
        Mixed video, audio and targets; the arguments are left alone.
    """
    if params.mixup == 0 and params.cutmix == 0:
        return video, audio, targets
    seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
    rng = np.random.default_rng(int(seed))
    use_cutmix = params.cutmix > 0 and (params.mixup == 0 or rng.random() < 0.5)
    alpha = params.cutmix if use_cutmix else params.mixup
    share = float(rng.beta(alpha, alpha))
    if use_cutmix:
        video, share = _paste(video, share, rng)
    else:
        video = _blend(video, share)
    return video, _blend(audio, share) if params.mix_audio else audio, _blend(targets, share)


def _blend(values: Tensor, share: float) -> Tensor:
    """`share` of each row and the rest of its mirror image in the batch."""
    return values.flip(0).lerp_(values, share)


def _paste(video: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Replace a box of about ``1 - share`` of each frame; returns the true share that is left, too."""
    height, width = video.shape[-2:]
    half = math.sqrt(1 - share) / 2
    y, x = rng.integers(height), rng.integers(width)
    top, bottom = max(int(y - half * height), 0), min(int(y + half * height), height)
    left, right = max(int(x - half * width), 0), min(int(x + half * width), width)
    mixed = video.clone()
    mixed[..., top:bottom, left:right] = video[..., top:bottom, left:right].flip(0)
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
