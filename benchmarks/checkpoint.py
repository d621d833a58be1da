"""How long a training waits for a checkpoint, and how long it takes until it is on the disk.

The state is that of a pre-training with AdamW's moments. The processor's seconds, too, are shown, since a busy machine
stretches the clock's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

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


def main(size: str, num_rounds: int) -> None:
    """Print medians over the rounds."""
    learner = learner_after_a_step(size)
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder) / "run", num_kept=1)
        rounds: dict[str, list[tuple[float, float]]] = {"save() returns": [], "written": [], "read back": []}
        for step in range(num_rounds):
            rounds["save() returns"].append(timed(lambda step=step: store.save(learner.state(), step)))  # type: ignore[misc]
            rounds["written"].append(timed(store.wait))
            rounds["read back"].append(timed(store.latest))
        size_bytes = sum(path.stat().st_size for path in store.folder.iterdir())
    print(f"{size}: {size_bytes / 1e9:.2f} GB, median of {num_rounds}, {torch.get_num_threads()} threads")
    for name, times in rounds.items():
        clock, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:>15}: {clock:6.2f} s by the clock, {processor:6.2f} s of the processor")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="base")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.size, arguments.rounds)
