"""The training loop, the same for pre-training and fine-tuning."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hicmae_core.config import ComputeParams, FinetuneParams, PretrainParams
from hicmae_core.data.batches import num_batches, training_batches
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.files import atomic_path
from hicmae_core.progress import progress_bar
from hicmae_core.training import distributed
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.learner import Learner, Row
from hicmae_core.training.optim import REFERENCE_BATCH, cosine_schedule, set_learning_rate
from hicmae_core.training.seeding import seed_everything
from hicmae_core.training.tracker import Tracker

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Task:
    """What is trained: a model, its data and what is asked of it.

    Attributes:
        model: The model, on its device.
        groups: Its parameters, from `optim.parameter_groups`.
        clips: What it is trained on.
        losses_of: Scalar losses by name of (model, batch, optimizer step from 0); the first is minimised.
        validate: Metrics after an epoch, among them `score`: the weights of the epoch with the highest
            score, the first of equals, are kept. None keeps the last epoch's.
        sampling_weights: How often to draw each clip, ``[N]``, with replacement; None reads each once an epoch.
    """

    model: nn.Module
    groups: list[dict[str, Any]]
    clips: ClipDataset
    losses_of: Callable[[nn.Module, Batch, int], dict[str, Tensor]]
    validate: Callable[[], Row] | None = None
    sampling_weights: np.ndarray | None = None


@dataclass(frozen=True)
class Run:
    """Under which seed, where, and before whose eyes a training runs."""

    seed: int
    device: torch.device
    compute: ComputeParams
    checkpoints: CheckpointStore
    tracker: Tracker


def train(task: Task, params: PretrainParams | FinetuneParams, run: Run) -> Learner:
    """Train a task's model in place, from the newest checkpoint if there is one.

    Returns:
        The learner at the end: the chosen weights in the model, and the history, one row per epoch.

    Raises:
        ValueError: If the clips do not fill one batch, or a loss is not finite, naming the clips of its
            batch; no step is taken on it.
    """
    steps_per_epoch = num_batches(len(task.clips), params.batch_size, drop_last=True)
    schedule = _schedule(params, steps_per_epoch)
    learner = Learner(task.model, task.groups, params.betas, half=params.precision == "float16")
    learner.restore(run.checkpoints.latest())
    forward = distributed.replicate(task.model, task.model, run.device, run.compute.parallel)
    forward = torch.compile(forward) if run.compute.compile else forward  # type: ignore[assignment]
    is_main = distributed.rank() == 0

    done = len(learner.history) * steps_per_epoch
    with progress_bar(total=len(schedule), initial=done, unit="step", disable=not is_main) as bar:
        for epoch in range(len(learner.history), params.epochs):
            started = time.perf_counter()
            steps = range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch)
            task.model.train()
            values: list[Tensor] = []
            for step, batch in zip(steps, _batches(task, params.batch_size, epoch, run), strict=True):
                set_learning_rate(learner.optimizer, schedule[step])
                seed_everything(run.seed, "stochastic depth", step, distributed.rank())
                with torch.autocast(run.device.type, _DTYPES[params.precision], params.precision != "float32"):
                    losses = task.losses_of(forward, batch, step)
                _check_finite(losses, batch.clip_ids, step)
                learner.step(next(iter(losses.values())), params.clip_grad)
                values.append(torch.stack([loss.detach().float() for loss in losses.values()]))
                bar.update()
            by_step = _by_step(losses, distributed.all_reduce_mean(torch.stack(values, dim=1)))
            row: Row = {"epoch": epoch} | {name: statistics.fmean(series) for name, series in by_step.items()}
            row["lr"] = schedule[steps[-1]]
            row["samples_per_second"] = params.batch_size * len(steps) / (time.perf_counter() - started)
            if task.validate is not None:
                row |= task.validate()
            learner.end_epoch(row)
            if is_main:
                bar.set_postfix_str(f"epoch {epoch + 1}, loss {row[next(iter(losses))]:.4f}", refresh=False)
                _report(run.tracker, row, by_step | {"lr": schedule[steps.start : steps.stop]}, steps)
                run.checkpoints.save(learner.state(), step=epoch + 1)
    learner.choose_best()
    return learner


def _batches(task: Task, batch_size: int, epoch: int, run: Run) -> Iterator[Batch]:
    return training_batches(
        task.clips,
        batch_size,
        run.seed,
        epoch + 1,
        run.compute.num_workers,
        drop_last=True,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        start_step=epoch * num_batches(len(task.clips), batch_size, drop_last=True),
        weights=task.sampling_weights,
    )


def _schedule(params: PretrainParams | FinetuneParams, steps_per_epoch: int) -> list[float]:
    scale = params.batch_size / REFERENCE_BATCH
    base_lr, min_lr = params.base_lr * scale, params.min_lr * scale
    return cosine_schedule(base_lr, min_lr, params.epochs, steps_per_epoch, params.warmup_epochs).tolist()


def _by_step(names: Iterable[str], values: Tensor) -> dict[str, list[float]]:
    """Losses ``[names, steps]`` as one series per name: the epoch's one transfer from the device."""
    return dict(zip(names, values.tolist(), strict=True))


def _check_finite(losses: dict[str, Tensor], clip_ids: Sequence[str], step: int) -> None:
    name, loss = next(iter(losses.items()))
    if not torch.isfinite(loss):
        values = ", ".join(f"{name} {value.item():g}" for name, value in losses.items())
        raise ValueError(
            f"the {name} is not finite at step {step} ({values}) on the clips {', '.join(clip_ids)}; look at these "
            "clips, lower base_lr, set clip_grad or raise precision, then run again: it resumes from its checkpoint"
        )


def _report(tracker: Tracker, row: Row, by_step: dict[str, list[float]], steps: range) -> None:
    tracker.log_metrics({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
    for name, series in by_step.items():
        tracker.log_series(f"step/{name}", list(zip(steps, series, strict=True)))


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one CSV line per epoch, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def summarise(learner: Learner, num_clips: int) -> Row:
    """The last epoch's row, the mean throughput, and the sizes of model and data."""
    rates = [row["samples_per_second"] for row in learner.history]
    return learner.history[-1] | {
        "samples_per_second": statistics.fmean(rates),
        "num_clips": num_clips,
        "num_parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
    }
