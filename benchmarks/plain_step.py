"""A training step written plainly: masks clip by clip in Python, targets of all patches, a loss read every time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hicmae_core.data.augmentation import IMAGENET_MEAN, IMAGENET_STD


def draw_masks(batch_size: int, video_grid: tuple[int, ...], audio_grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Tube masks of nine tenths and random masks of four fifths, drawn clip by clip with numpy."""
    num_space, num_audio = math.prod(video_grid[1:]), math.prod(audio_grid)
    rows, rows_audio = [], []
    for _ in range(batch_size):
        row = np.hstack([np.zeros(num_space - int(0.9 * num_space)), np.ones(int(0.9 * num_space))])
        np.random.shuffle(row)  # noqa: NPY002 (the plain way)
        rows.append(np.tile(row, (video_grid[0], 1)).flatten())
        row = np.hstack([np.zeros(num_audio - int(0.8 * num_audio)), np.ones(int(0.8 * num_audio))])
        np.random.shuffle(row)  # noqa: NPY002
        rows_audio.append(row)
    return torch.from_numpy(np.stack(rows)).bool(), torch.from_numpy(np.stack(rows_audio)).bool()


def video_patches(video: Tensor) -> Tensor:
    """Standardised patches with differences of frames, all of them: ``[B, N, 1536]``."""
    mean = torch.tensor(IMAGENET_MEAN, device=video.device)[None, :, None, None, None]
    std = torch.tensor(IMAGENET_STD, device=video.device)[None, :, None, None, None]
    pixels = video * std + mean
    b, c, t, h, w = pixels.shape
    x = pixels.reshape(b, c, t // 2, 2, h // 16, 16, w // 16, 16).permute(0, 2, 4, 6, 3, 5, 7, 1)
    x = x.reshape(b, t // 2 * (h // 16) * (w // 16), 2 * 16 * 16, c)
    x = (x - x.mean(-2, keepdim=True)) / (x.var(-2, unbiased=True, keepdim=True).sqrt() + 1e-6)
    first, second = x.reshape(b, -1, 2, 16 * 16, c).unbind(2)
    return torch.stack((first, second - first), dim=2).flatten(2)


def audio_patches(audio: Tensor) -> Tensor:
    """Standardised patches, all of them: ``[B, N, 256]``."""
    b, _, t, m = audio.shape
    x = audio.reshape(b, t // 16, 16, m // 16, 16).permute(0, 1, 3, 2, 4).reshape(b, -1, 256)
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=True, keepdim=True).sqrt() + 1e-6)


def plain_step(model: nn.Module, precision: str, device: torch.device) -> Callable[..., float]:
    """A function that trains `model` on one batch of its inputs and returns the loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    dtype = getattr(torch, precision)

    def step(*inputs: Tensor) -> float:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=precision != "float32"):
            loss = model(*(x.to(device) for x in inputs))
        value = loss.item()
        if not math.isfinite(value):
            raise ValueError(f"the plain arm's loss is {value}")
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return value

    return step
