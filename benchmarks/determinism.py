"""What ``compute.deterministic`` costs: the same training steps with and without it, in turns."""

from __future__ import annotations

import statistics
from typing import Annotated

import torch
import typer

from benchmarks.machine import seconds
from benchmarks.train_step import Case, our_step
from benchmarks.work import TASKS, Size, build_objective, synthetic_clips
from hicmae.command import run
from hicmae_core.config import Precision
from hicmae_core.progress import progress_bar
from hicmae_core.runtime import device_named
from hicmae_core.training.randomness import deterministic

EXAMPLES = """
python -m benchmarks.determinism                # tiny, on a CPU
python -m benchmarks.determinism --size base --precision bfloat16 --batch-size 40 --device cuda
"""


def measure(case: Case, num_rounds: int) -> float:
    """Time of a deterministic step over that of any step, the median of the rounds' ratios."""
    torch.manual_seed(0)
    objective = build_objective(case.size, case.task).to(case.device)
    clips = synthetic_clips(objective.model.architecture, case.batch_size)
    step = our_step(case, objective)

    def timed(on: bool) -> float:
        with deterministic(on):
            return seconds(lambda: step(*clips), case.device)

    timed(True)  # first, because cuBLAS keeps to the setting that it starts with
    timed(False)
    return statistics.median(timed(True) / timed(False) for _ in progress_bar(range(num_rounds), desc=case.name))


def main(
    size: Annotated[Size, typer.Option(help="Size of the model.")] = "tiny",
    precision: Annotated[Precision, typer.Option(help="Of the steps.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Clips of a step.")] = 8,
    device: Annotated[str, typer.Option(help="cpu, cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(help="Steps of each.")] = 15,
) -> None:
    """Print both trainings' ratios."""
    for task in TASKS:
        case = Case(size, task, precision, batch_size, False, False, device_named(device))
        print(f"{case.name}, {device}: deterministic steps take {measure(case, rounds):.2f} times as long")


if __name__ == "__main__":
    run(main, EXAMPLES, __doc__)
