"""What a pre-trained model sees behind its masks, as images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hicmae_core.config import PretrainParams
from hicmae_core.data.augmentation import IMAGENET_MEAN, IMAGENET_STD, resize_only
from hicmae_core.data.clips import ClipDataset
from hicmae_core.data.tensors import FBANK_MEAN, FBANK_SCALE
from hicmae_core.model.artifact import load_pretrained
from hicmae_core.model.encoder import patchify
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.training.loop import TrainSettings
from hicmae_core.training.pretrain import draw_masks, untrained_model

GREY = 0.5
"""What hidden pixels look like."""


class Reconstruction(NamedTuple):
    """Clips as they are, as the model is shown them, and with the hidden part as it predicts it.

    The prediction knows each hidden patch's mean and spread: the model is trained on standardised patches.

    Attributes:
        frames: RGB in 0..1, ``[B, T, H, W, 3]``.
        frames_masked: The same with hidden patches grey.
        frames_predicted: The same with hidden patches predicted.
        log_mel: Log-mel values, ``[B, time, mel]``.
        log_mel_masked: The same with hidden patches NaN.
        log_mel_predicted: The same with hidden patches predicted.
    """

    frames: Tensor
    frames_masked: Tensor
    frames_predicted: Tensor
    log_mel: Tensor
    log_mel_masked: Tensor
    log_mel_predicted: Tensor


@torch.no_grad()
def reconstruct(
    model: PretrainingModel,
    video: Tensor,
    video_mask: Tensor,
    audio: Tensor,
    audio_mask: Tensor,
    frame_difference: bool,
) -> Reconstruction:
    """Predict what the masks hide.

    Args:
        model: In eval mode.
        video: ImageNet-normalised clips ``[B, 3, T, H, W]``.
        video_mask: ``[B, video tokens]``, true where hidden.
        audio: Normalised log-mel ``[B, 1, time, mel]``.
        audio_mask: ``[B, audio tokens]``, true where hidden.
        frame_difference: Whether the model was trained to predict differences of frames.
    """
    out = model(video, video_mask, audio, audio_mask)
    video_patch, audio_patch = model.architecture.video_patch, model.architecture.audio_patch
    mean, std = (video.new_tensor(values)[:, None, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = video * std + mean
    frames, log_mel = pixels.movedim(1, -1), audio[:, 0] * FBANK_SCALE + FBANK_MEAN

    patches = patchify(pixels, video_patch).flatten(3)  # [B, N, 3, pixels]
    predicted = out.video.float().unflatten(-1, (-1, pixels.shape[1])).transpose(-1, -2)  # [B, masked, 3, pixels]
    if frame_difference:
        first, difference = predicted.unflatten(-1, (video_patch[0], -1)).unbind(-2)
        predicted = torch.cat((first, first + difference), dim=-1)
    grid = model.video_grid
    frames_masked = _unpatchify(_fill(patches, video_mask, torch.full_like(predicted, GREY)), grid, video_patch)
    frames_predicted = _unpatchify(_fill(patches, video_mask, predicted, standardised=True), grid, video_patch)

    patches, grid = patchify(log_mel[:, None], audio_patch).flatten(3), model.audio_grid
    predicted = out.audio.float()[:, :, None]
    log_mel_masked = _unpatchify(_fill(patches, audio_mask, torch.full_like(predicted, torch.nan)), grid, audio_patch)
    log_mel_predicted = _unpatchify(_fill(patches, audio_mask, predicted, standardised=True), grid, audio_patch)
    return Reconstruction(
        frames,
        frames_masked.movedim(1, -1),
        frames_predicted.movedim(1, -1).clamp(0, 1),
        log_mel,
        log_mel_masked[:, 0],
        log_mel_predicted[:, 0],
    )


def reconstruct_sample(
    model: PretrainingModel, clips: ClipDataset, settings: TrainSettings[PretrainParams], num_clips: int
) -> Reconstruction:
    """Reconstruct the middles of the first `num_clips` clips under masks that the seed determines."""
    recipe = settings.recipe
    items = [clips.test_item(index, num_segments=1) for index in range(min(num_clips, len(clips)))]
    video = resize_only(torch.cat([frames for frames, _ in items]), settings.model.image_size)
    audio = torch.stack([log_mel for _, log_mel in items])
    masks = draw_masks(recipe, model.video_grid, model.audio_grid, len(items), settings.seed, "reconstruction")
    return reconstruct(model, video, masks[0], audio, masks[1], recipe.frame_difference)


def before_and_after(settings: TrainSettings[PretrainParams], trained: Path, clips: ClipDataset) -> dict[str, Tensor]:
    """The first clip as a trained model reconstructs it, and as the same model does before its training.

    Args:
        settings: Of the training.
        trained: The trained model's file.
        clips: Of both modalities.

    Returns:
        The fields of `Reconstruction`, without the batch's axis; ``frames_untrained`` and ``log_mel_untrained``.
    """
    before, after = (
        reconstruct_sample(model, clips, settings, num_clips=1)
        for model in (untrained_model(settings).eval(), load_pretrained(trained, settings.model.size))
    )
    clip = {name: values[0] for name, values in after._asdict().items()}
    return clip | {"frames_untrained": before.frames_predicted[0], "log_mel_untrained": before.log_mel_predicted[0]}


def _fill(patches: Tensor, mask: Tensor, values: Tensor, standardised: bool = False) -> Tensor:
    """A copy of `patches` ``[B, N, C, P]`` with its masked ones, in ascending order, replaced by `values`.

    Standardised values get the mean and standard deviation of the patch and colour that they replace.
    """
    filled = patches.clone()
    values = values.flatten(0, 1)
    if standardised:
        hidden = patches[mask]
        values = values * hidden.std(-1, keepdim=True) + hidden.mean(-1, keepdim=True)
    filled[mask] = values
    return filled


def _unpatchify(patches: Tensor, grid: tuple[int, ...], patch_size: tuple[int, ...]) -> Tensor:
    """Patches ``[B, N, C, P]`` put together again: ``[B, C, *size]``."""
    num_axes = len(grid)
    x = patches.transpose(1, 2).unflatten(-1, patch_size).unflatten(2, grid)  # [B, C, *grid, *patch]
    pairs = [axis for i in range(num_axes) for axis in (2 + i, 2 + num_axes + i)]
    size = [count * step for count, step in zip(grid, patch_size, strict=True)]
    result: Tensor = x.permute(0, 1, *pairs).reshape(*patches.shape[:1], patches.shape[2], *size)
    return result
