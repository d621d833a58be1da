"""Randomness without state: every draw's seed follows from what is drawn, when and for which run.

So a resumed training draws what the uninterrupted one would have, and no generator state is saved.
"""

from __future__ import annotations

import hashlib

import torch

Key = int | str


def seed_for(*keys: Key) -> int:
    """A seed of 63 bits that depends on all of `keys`, such as (7, "masks", epoch, step)."""
    digest = hashlib.sha256(repr(keys).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(*keys: Key) -> torch.Generator:
    """A fresh generator on the CPU, seeded by `keys`; what it draws does not depend on the device in use."""
    return torch.Generator().manual_seed(seed_for(*keys))


def seed_everything(*keys: Key) -> None:
    """Seed torch's global generators, for what takes none: weight initialisation and stochastic depth."""
    torch.manual_seed(seed_for(*keys))
