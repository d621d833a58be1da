"""The same bits each time: only operations that are deterministic (``compute.deterministic``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_FIXED_WORKSPACES = ":4096:8"


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
