"""How long a training waits for a checkpoint, and how long it takes until it is on the disk.

The state is that of a pre-training with AdamW's moments. The processor's seconds, too, are shown, since a busy machine
stretches the clock's.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from hicmae.cli.output import print_table
from hicmae.command import run
from hicmae_core.config import PretrainParams
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.learner import Learner
from hicmae_core.training.optim import adamw


def learner_after_a_step(size: str) -> Learner:
    """A model and its optimizer, whose state exists after the first step."""
    model, recipe = pretraining_model(size), PretrainParams()
    learner = Learner(model, adamw(model, recipe.betas, recipe.weight_decay), recipe)
    for parameter in learner.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    learner.step(0.001, {"total": torch.zeros(())})
    learner.meter.read()
    return learner


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - clock, time.process_time() - processor


def main(
    size: Annotated[str, typer.Option(help="Size of the model.")] = "base",
    rounds: Annotated[int, typer.Option(help="Rounds whose median counts.")] = 5,
) -> None:
    """Print medians over the rounds."""
    learner = learner_after_a_step(size)
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder) / "run", num_kept=1)
        times: dict[str, list[tuple[float, float]]] = {"save() returns": [], "written": [], "read back": []}
        for step in range(rounds):
            times["save() returns"].append(timed(lambda step=step: store.save(learner.state(), step)))  # type: ignore[misc]
            times["written"].append(timed(store.wait))
            times["read back"].append(timed(store.latest))
        size_bytes = sum(path.stat().st_size for path in store.folder.iterdir())
    print(f"{size}: {size_bytes / 1e9:.2f} GB, median of {rounds}, {torch.get_num_threads()} threads")
    rows = []
    for name, taken in times.items():
        clock, processor = (statistics.median(column) for column in zip(*taken, strict=True))
        rows.append([name, f"{clock:.2f}", f"{processor:.2f}"])
    print_table("", ["", "s by the clock", "s of the processor"], rows, best=False)


if __name__ == "__main__":
    run(main, "python -m benchmarks.checkpoint --size tiny", __doc__)
