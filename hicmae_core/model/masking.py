"""Masks of pre-training, and the split of tokens into visible and masked ones (paper section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


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
    num_masked = int(ratio * num_tokens)
    if not 0 < num_masked < num_tokens:
        raise ValueError(
            f"a mask ratio of {ratio} hides {num_masked} of {num_tokens} positions; "
            "choose one that leaves some masked and some visible"
        )
    order = torch.rand(batch_size, num_tokens, generator=generator, device=generator.device).argsort(dim=1)
    mask = torch.zeros(batch_size, num_tokens, dtype=torch.bool, device=generator.device)
    return mask.scatter_(1, order[:, :num_masked], True).to(device)


def split_tokens(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Where the visible and the masked tokens of each row are, both in ascending order.

    Args:
        mask: ``[B, N]``, 1 or true where masked, with the same number of masked tokens in every row.

    Returns:
        Indices ``[B, visible]`` and ``[B, masked]``.

    Raises:
        ValueError: If rows differ in their number of masked tokens, or none is masked, or none visible.
    """
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
    return order[:, :num_visible], order[:, num_visible:]


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Pick tokens ``[B, K, C]`` of ``[B, N, C]`` by index ``[B, K]``."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))
