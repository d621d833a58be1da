"""What ``compute.deterministic`` costs: the same training steps with and without it, in turns.

python -m benchmarks.determinism                                                        # tiny, on a CPU
python -m benchmarks.determinism --size base --precision bfloat16 --batch-size 40 --device cuda
"""

from __future__ import annotations

import argparse
import statistics

import torch

from benchmarks.machine import seconds
from benchmarks.train_step import PRECISIONS, Case, our_step
from benchmarks.work import TASKS, build_objective, synthetic_clips
from hicmae_core.model.sizes import SIZES
from hicmae_core.progress import progress_bar
from hicmae_core.runtime import device_named
from hicmae_core.training.randomness import deterministic


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


def main() -> None:
    """Print both trainings' ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    device = device_named(arguments.device)
    for task in TASKS:
        case = Case(arguments.size, task, arguments.precision, arguments.batch_size, False, False, device)
        print(
            f"{case.name}, {device.type}: deterministic steps take {measure(case, arguments.rounds):.2f} times as long"
        )


if __name__ == "__main__":
    main()
