"""Stored face crops and log-mel features made into the model's inputs, with or without augmentation and mixing.

Mixup and cutmix mix both modalities and the labels of a clip with one lambda.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hicmae_core.config import AugmentationParams
from hicmae_core.data.randaugment import Plan, draw_plans, render
from hicmae_core.data.tensors import FBANK_MEAN, FBANK_SCALE
from hicmae_core.data.views import View

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ERASING_AREA = (0.02, 1 / 3)
ERASING_RATIO = (0.3, 1 / 0.3)

_CROP_PLACES = [(y, x) for y in range(5) for x in range(5) if y % 2 == x % 2]  # quarters of the free space
_NUM_TRIES = 10
_LOG_MEL_FLOOR = math.log(torch.finfo(torch.float32).eps)

Box = tuple[int, int, int, int]
"""Top, left, height and width, pixels."""


def resize_only(frames: Tensor, image_size: int) -> Tensor:
    """What evaluation sees: the whole crop."""
    video = _empty(frames, image_size)
    for out, clip in zip(video, frames, strict=True):
        pictures = clip.permute(0, 3, 1, 2).float()
        if clip.shape[-2] != image_size:
            pictures = F.interpolate(pictures, (image_size, image_size), mode="bilinear", align_corners=False)
        _normalise(pictures.transpose(0, 1), out)
    return video


def multi_scale_corner_crop(
    frames: Tensor, scales: Sequence[float], image_size: int, generator: torch.Generator
) -> Tensor:
    """Pre-training's crops: height and width at neighbouring `scales`, at one of 13 fixed places (corners, centre,
    and between)."""
    side = frames.shape[-2]
    pairs = [(h, w) for i, h in enumerate(scales) for j, w in enumerate(scales) if abs(i - j) <= 1]
    draws = torch.rand(len(frames), 2, generator=generator, device=generator.device).tolist()
    views = []
    for pair, place in draws:
        height, width = (int(side * scale) for scale in pairs[int(pair * len(pairs))])
        y, x = _CROP_PLACES[int(place * len(_CROP_PLACES))]
        views.append(View((side - height) * y // 4, (side - width) * x // 4, height, width))
    return _rendered(frames, [()] * len(frames), views, image_size)


def finetuning_augmentation(
    frames: Tensor, params: AugmentationParams, image_size: int, generator: torch.Generator
) -> Tensor:
    """RandAugment, random resized crop, horizontal flip and random erasing, drawn anew for each clip."""
    side = frames.shape[-2]
    draws = torch.rand(len(frames), 2 * _NUM_TRIES + 1, 4, generator=generator, device=generator.device).tolist()
    plans = draw_plans(
        len(frames), params.randaugment_num_ops, params.randaugment_magnitude, params.randaugment_std, generator
    )
    views = []
    for *tries, (flip, _, _, _) in draws:
        box = _random_box(tries[:_NUM_TRIES], side, params.crop_scale, params.crop_ratio) or (0, 0, side, side)
        views.append(View(*box, mirrored=params.flip and flip < 0.5))
    video = _rendered(frames, plans, views, image_size)
    noise = torch.Generator(frames.device).manual_seed(_seed(generator))
    for clip, (*tries, (_, erase, _, _)) in zip(video, draws, strict=True):
        hole = _random_box(tries[_NUM_TRIES:], image_size, ERASING_AREA, ERASING_RATIO)
        if erase < params.erasing and hole is not None:
            top, left, height, width = hole
            region = clip[..., top : top + height, left : left + width]
            region.copy_(torch.randn(region.shape, generator=noise, device=region.device))
    return video


def audio_gain(audio: Tensor, generator: torch.Generator) -> Tensor:
    """Normalised log-mel ``[B, 1, time, mel]`` as if each waveform were multiplied by Beta(10, 10) + 0.5.

    Padding and digital silence have nothing to multiply and stay.
    """
    # The median of 19 uniform numbers is distributed as Beta(10, 10).
    uniform = torch.rand(len(audio), 19, generator=generator, device=generator.device)
    gain = 0.5 + uniform.median(dim=1).values.to(audio.device)
    louder = audio + (2 * gain.log() / FBANK_SCALE)[:, None, None, None]
    is_padding = (audio == -FBANK_MEAN / FBANK_SCALE).all(-1, keepdim=True)
    is_silent = audio * FBANK_SCALE + FBANK_MEAN < _LOG_MEL_FLOOR + 0.01
    return torch.where(is_padding | is_silent, audio, louder)


def hide_modalities(
    video: Tensor, audio: Tensor, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Hide the video or the audio of some clips, each as often and never both, by zeros, as evaluation does.

    Args:
        video: ImageNet-normalised clips ``[B, 3, T, H, W]``.
        audio: Normalised log-mel ``[B, 1, time, mel]``.
        probability: Of a clip to lose one; 0 draws nothing.
        generator: Source of all choices.

    Returns:
        Both anew; the arguments are left alone.
    """
    if probability == 0:
        return video, audio
    draws = torch.rand(len(video), generator=generator, device=generator.device).to(video.device)
    no_video, no_audio = draws < probability / 2, (draws >= probability / 2) & (draws < probability)
    return video.masked_fill(_by_clip(no_video, video), 0), audio.masked_fill(_by_clip(no_audio, audio), 0)


def _by_clip(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


def _rendered(frames: Tensor, plans: Sequence[Plan], views: Sequence[View], image_size: int) -> Tensor:
    """Clips after RandAugment, cut and normalised."""
    video = _empty(frames, image_size)
    for clip, times, pixels in render(frames, plans, views, image_size):
        _normalise(pixels, video[clip, :, times])
    return video


def _empty(frames: Tensor, image_size: int) -> Tensor:
    shape = len(frames), 3, frames.shape[1], image_size, image_size
    if frames.device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.float32))  # on huge pages, which are quick to get
    return torch.empty(shape, device=frames.device)


def _normalise(clip: Tensor, out: Tensor) -> None:
    """Pixels ``[3, T, S, S]``, 0 to 255, as the model's input, written to `out`."""
    mean, std = (255 * out.new_tensor(values)[:, None, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    torch.sub(clip, mean, out=out).div_(std)


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device).item())


def _random_box(
    tries: Sequence[Sequence[float]], side: int, area: tuple[float, float], ratio: tuple[float, float]
) -> Box | None:
    """A box of random area, aspect and place inside a square of `side` pixels.

    Args:
        tries: Four uniform numbers per attempt; the first attempt that fits counts.
        side: Side of the square.
        area: Range of the box's share of the square.
        ratio: Range of width over height, log-uniform.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for share, aspect, y, x in tries:
        pixels = side * side * (area[0] + share * (area[1] - area[0]))
        stretch = math.exp((low + aspect * (high - low)) / 2)
        height, width = round(math.sqrt(pixels) / stretch), round(math.sqrt(pixels) * stretch)
        if 0 < height <= side and 0 < width <= side:
            return int(y * (side - height + 1)), int(x * (side - width + 1)), height, width
    return None


def mix(
    video: Tensor, audio: Tensor, targets: Tensor, params: AugmentationParams, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix each clip with the one at the mirrored place in the batch.

    Mixup blends whole clips; cutmix pastes a box of the other clip into every frame and blends the audio
    with the share of the image that is left. Where both are on, either is used half of the time.

    Args:
        video: ``[B, 3, T, H, W]``.
        audio: ``[B, 1, time, mel]``.
        targets: ``[B, classes]`` label distributions.
        params: `mixup` and `cutmix` are the Beta distributions' parameters, 0 is off; without `mix_audio` the
            audio stays as it is, which is what the authors' release does.
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
