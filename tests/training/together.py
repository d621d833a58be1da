"""Functions that several processes run together, as torchrun would have them."""

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from hicmae_core.training.distributed import process_group
from tests.forking import FORKS

TIMEOUT_SECONDS = 120


def together(
    num_processes: int, function: Callable[..., Any], folder: Path, *arguments: Any, joined: bool = True
) -> list[Any]:
    """What `function` returns in each of several processes that talk over gloo.

    Args:
        num_processes: How many.
        function: Of a module's top level.
        folder: For what is returned; another one each time.
        arguments: Of `function`.
        joined: Whether they have joined; a whole training does so itself.
    """
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        FORKS.Process(target=_take_part, args=(rank, num_processes, port, folder, joined, function, arguments))
        for rank in range(num_processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * num_processes
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(num_processes)]


def _take_part(
    rank: int,
    num_processes: int,
    port: int,
    folder: Path,
    joined: bool,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")) if joined else nullcontext():
        torch.save(function(*arguments), folder / f"{rank}.pt")
