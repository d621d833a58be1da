"""Randomness without state: every draw's seed follows from what is drawn, when and for which run.

So a resumed training draws what the uninterrupted one would have. The states of the global generators of torch, NumPy
and Python are in the checkpoint nevertheless, for libraries that draw from one. ``compute.deterministic`` allows only
operations that give the same bits each time.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Key = int | str

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_FIXED_WORKSPACES = ":4096:8"


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


def random_state() -> dict[str, Any]:
    """The state of every global generator, in tensors and plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Go back to what `random_state` gave; of more GPUs than there are now, the first ones."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_initialized():
        for device, generator in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
            torch.cuda.set_rng_state(generator, device)
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Use deterministic operations only, then return to the settings before; off, change nothing.

    Open it before the first operation on a GPU: cuBLAS reads its setting, an environment variable, when it starts.
    Within it an operation that has no deterministic version raises torch's RuntimeError, which names the operation.
    Memory that torch hands out is not filled first: nothing here reads what it has not written.
    """
    if not on:
        yield
        return
    cudnn = torch.backends.cudnn
    memory: Any = torch.utils.deterministic
    settings = cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspaces = os.environ.get(_CUBLAS)
    os.environ.setdefault(_CUBLAS, _FIXED_WORKSPACES)
    cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = True, False, False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = settings
        if workspaces is None:
            del os.environ[_CUBLAS]
