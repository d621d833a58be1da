"""What the head reads of an encoder's tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hicmae_core.model.architecture import Pooling

_EPSILON = 1e-6
_MOMENTUM = 0.1


def pool(tokens: Tensor, num_steps: int, pooling: Pooling, counted: Tensor | None = None) -> Tensor:
    """Pool the tokens of one block.

    Args:
        tokens: ``[B, N, D]``, those of a step after those of the step before.
        num_steps: Steps in time, T; a step has P places, ``N = T P``.
        pooling: ``mean``, over all tokens, as published; or ``statistics``: of every place the mean and the standard
            deviation over time, side by side.
        counted: Steps that the statistics count, bool ``[B, T]``; all when None.

    Returns:
        ``[B, D]``, or ``[B, 2 P D]`` of statistics.
    """
    if pooling == "mean":
        return tokens.mean(dim=1)
    steps = tokens.float().unflatten(1, (num_steps, -1))  # [B, T, P, D]; deviations suffer from half precision
    weights = steps.new_ones(1, num_steps) if counted is None else counted.float()
    weights = (weights / weights.sum(dim=1, keepdim=True))[:, :, None, None]
    mean = (weights * steps).sum(dim=1)
    variance = (weights * (steps - mean[:, None]).square()).sum(dim=1)
    return torch.stack((mean, (variance + _EPSILON).sqrt()), dim=1).flatten(1)


def pooled_width(num_tokens: int, num_steps: int, dim: int, pooling: Pooling) -> int:
    """The width of what `pool` gives."""
    return dim if pooling == "mean" else 2 * num_tokens // num_steps * dim


def heard_steps(audio: Tensor, frames_per_step: int) -> Tensor:
    """Steps of a spectrogram ``[B, 1, time, mel]`` in which there is sound, bool ``[B, T]``.

    What lies beyond a clip's end, a hidden voice and digital silence have one value throughout; a spectrogram of
    nothing else counts whole.
    """
    steps = audio.unflatten(2, (-1, frames_per_step)).flatten(3)[:, 0]
    heard = steps.amax(dim=2) > steps.amin(dim=2)
    return heard | ~heard.any(dim=1, keepdim=True)


class Standardise(nn.Module):
    """Features ``[B, F]`` less their mean, over their deviation: of the batch in training, then of the batches so far.

    Statistics differ in scale by place and channel; a linear probe wants them alike (a batch norm without gains).
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.eps = _EPSILON

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `x`."""
        return F.batch_norm(
            x.float(), self.running_mean, self.running_var, None, None, self.training, _MOMENTUM, self.eps
        )
