"""How the C library deals with the memory of tensors on the CPU."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next tensor, instead of giving it back to the system and asking again.

    A training step frees and takes the same tensors each time. Pages that come from the system are cleared and mapped
    one by one on first use, a tenth of a step's time on a CPU; kept ones are there. Without glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
