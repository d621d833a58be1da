"""Masks of pre-training, and the split of tokens into visible and masked ones (paper section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TokenSplit(NamedTuple):
    """Where the visible and the masked tokens of each row are, both in ascending order.

    Attributes:
        visible: Indices ``[B, visible]``.
        masked: Indices ``[B, masked]``.
    """

    visible: Tensor
    masked: Tensor

    @property
    def shape(self) -> torch.Size:
        """``[B, tokens]``, as of a mask."""
        return torch.Size((len(self.visible), self.visible.shape[1] + self.masked.shape[1]))


def tube_split(scores: Tensor, num_time: int, num_masked: int) -> TokenSplit:
    """Hide, at every time step alike, the spatial positions of the `num_masked` lowest scores.

    Shapes follow from the arguments alone, and nothing waits for the device.

    Args:
        scores: ``[B, spatial positions]``; uniform ones hide uniformly.
        num_time: Time steps.
        num_masked: Spatial positions to hide, from `num_masked_tokens`.
    """
    num_space = scores.shape[1]
    starts = torch.arange(0, num_time * num_space, num_space, device=scores.device)[:, None]
    return TokenSplit(*((index[:, None] + starts).flatten(1) for index in random_split(scores, num_masked)))


def random_split(scores: Tensor, num_masked: int) -> TokenSplit:
    """Hide the tokens of the `num_masked` lowest scores of each row ``[B, tokens]``; otherwise as `tube_split`."""
    order = scores.argsort(dim=1)
    return TokenSplit(order[:, num_masked:].sort(dim=1).values, order[:, :num_masked].sort(dim=1).values)


def num_masked_tokens(ratio: float, num_tokens: int) -> int:
    """Positions that a mask ratio hides, int(ratio * num_tokens).

    Raises:
        ValueError: If that leaves nothing visible or nothing masked.
    """
    number = int(ratio * num_tokens)
    if not 0 < number < num_tokens:
        raise ValueError(
            f"a mask ratio of {ratio} hides {number} of {num_tokens} positions; "
            "choose one that leaves some masked and some visible"
        )
    return number


def tube_mask(
    batch_size: int, num_time: int, num_space: int, ratio: float, generator: torch.Generator, device: torch.device | str
) -> Tensor:
    """Hide the same int(ratio * num_space) random spatial positions at every time step.

    Returns:
        Boolean ``[B, num_time * num_space]``, true where masked.

    Raises:
        ValueError: If the ratio leaves nothing visible or nothing masked.
    """
    return random_mask(batch_size, num_space, ratio, generator, device).repeat(1, num_time)


def random_mask(
    batch_size: int, num_tokens: int, ratio: float, generator: torch.Generator, device: torch.device | str
) -> Tensor:
    """Hide int(ratio * num_tokens) random tokens of each row.

    Returns:
        Boolean ``[B, num_tokens]``, true where masked.

    Raises:
        ValueError: If the ratio leaves nothing visible or nothing masked.
    """
    num_masked = num_masked_tokens(ratio, num_tokens)
    scores = torch.rand(batch_size, num_tokens, generator=generator, device=generator.device)
    mask = torch.zeros(batch_size, num_tokens, dtype=torch.bool, device=generator.device)
    return mask.scatter_(1, random_split(scores, num_masked).masked, True).to(device)


def split_tokens(mask: Tensor | TokenSplit) -> TokenSplit:
    """The split that a mask stands for; the sizes are read from the device. A split stays as it is.

    Args:
        mask: ``[B, N]``, 1 or true where masked, with the same number of masked tokens in every row.

    Raises:
        ValueError: If rows differ in their number of masked tokens, or none is masked, or none visible.
    """
    if isinstance(mask, TokenSplit):
        return mask
    mask = mask.bool()
    num_masked = mask.sum(dim=1).tolist()
    if len(set(num_masked)) != 1:
        raise ValueError(f"every row of a mask must hide equally many tokens, got {num_masked}")
    num_visible = mask.shape[1] - num_masked[0]
    if num_visible == 0 or num_masked[0] == 0:
        raise ValueError(
            f"a mask must leave tokens on both sides, got {num_masked[0]} masked and {num_visible} visible"
        )
    order = mask.byte().argsort(dim=1, stable=True)
    return TokenSplit(order[:, :num_visible], order[:, num_visible:])


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Pick tokens ``[B, K, C]`` of ``[B, N, C]`` by index ``[B, K]``."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))
