"""What a machine can do at best, and how long something takes on it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import torch


def matrix_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP per second of the largest of a few matrix products, the best of several times."""
    sizes = [1024, 1536, 2048] if device.type == "cpu" else [4096, 8192]
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
        best = max(best, 2 * size**3 / fastest(lambda a=a, b=b: a @ b, device))
    return best


def bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of a large copy."""
    source = torch.randn(2**26, device=device)  # 256 MiB
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source), device)


def fastest(work: Callable[[], object], device: torch.device, num_times: int = 7) -> float:
    """Seconds of the fastest time."""
    return min(seconds(work, device) for _ in range(num_times + 1))


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of some work: by the clock on a GPU; on a CPU the time its threads had, so that others disturb less."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - start) / (1 if device.type == "cuda" else torch.get_num_threads())


def memory_of(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that some work takes at its peak on top of what is held when it starts (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])
