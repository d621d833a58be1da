"""The training loop, the same for pre-training and fine-tuning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hicmae_core.config import ComputeParams, FinetuneParams, ModelParams, Params, PretrainParams
from hicmae_core.data.batches import num_batches, training_batches
from hicmae_core.data.clips import Batch
from hicmae_core.data.joined import Clips, JoinedClips
from hicmae_core.progress import log_line, progress_bar
from hicmae_core.runtime import Interrupted, noted_signals
from hicmae_core.training import distributed
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.feeding import Feed
from hicmae_core.training.learner import Learner, Row
from hicmae_core.training.meter import dump_and_raise_nonfinite
from hicmae_core.training.optim import REFERENCE_BATCH, cosine_schedule
from hicmae_core.training.randomness import deterministic, seed_everything
from hicmae_core.training.tracker import Tracker

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_MUCH_WAITING = 0.1

Recipe = TypeVar("Recipe", PretrainParams, FinetuneParams)


@dataclass(frozen=True)
class TrainTask:
    """A model, its optimizer, its data and its objective.

    Attributes:
        model: The model, on its device; what is saved.
        optimizer: Over its parameters (`optim.adamw`).
        objective: Holds the model, and gives scalar losses by name of what `make_inputs` made; the first is minimised.
        clips: What it is trained on.
        make_inputs: The objective's inputs, augmented, of (clips on the device, optimizer step, micro-batch).
        validate: Metrics after an epoch, among them `score`: the weights of the epoch with the highest
            score, the first of equals, are kept. None keeps the last epoch's.
        sampling_weights: How often to draw each clip, ``[N]``, with replacement; None reads each once an epoch.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    objective: nn.Module
    clips: Clips
    make_inputs: Callable[[Batch, int, int], tuple[Tensor, ...]]
    validate: Callable[[], Row] | None = None
    sampling_weights: np.ndarray | None = None


@dataclass(frozen=True)
class TrainSettings(Generic[Recipe]):
    """Everything that the project's parameters say of one training."""

    seed: int
    recipe: Recipe
    """Steps, schedule, optimizer, precision and what is special to pre-training or fine-tuning."""
    model: ModelParams
    compute: ComputeParams

    @classmethod
    def of(cls, params: Params, recipe: Recipe) -> TrainSettings[Recipe]:
        """Those of `params`, with one of its recipes."""
        return cls(params.seed, recipe, params.model, params.compute)


def train(
    task: TrainTask,
    settings: TrainSettings[PretrainParams] | TrainSettings[FinetuneParams],
    device: torch.device,
    checkpoints: CheckpointStore,
    tracker: Tracker,
) -> Learner:
    """Train a task's model in place, from the newest checkpoint if there is one.

    Every `compute.log_every_steps` steps the metrics are read and logged; in between nothing waits for the device.
    Processes that train together decide at these steps whether to save or to end.

    Args:
        task: What is trained.
        settings: How.
        device: Where the model is.
        checkpoints: Where its state is kept.
        tracker: Gets the metrics of steps and epochs.

    Returns:
        The learner at the end, with the history, one row per epoch.

    Raises:
        ValueError: If the clips do not fill one batch, a batch does not fit processes and micro-batches, or a loss or
            gradient is not finite, naming the clips of its batch; no step is taken on it.
        Interrupted: After SIGTERM or Ctrl-C, when the state is saved.
    """
    training, compute = _Training(task, settings, device, checkpoints, tracker), settings.compute
    learner, num_steps = training.learner, len(training.schedule)
    saved_at = time.monotonic()
    with (
        deterministic(compute.deterministic),
        noted_signals() as interruption,
        progress_bar(total=num_steps, initial=learner.num_steps, unit="step", disable=not training.is_main) as bar,
    ):
        task.model.train()
        for batch in training.feed:
            training.step(batch)
            bar.update()
            ends_epoch = learner.num_steps % training.steps_per_epoch == 0
            should_log = ends_epoch or learner.num_steps % compute.log_every_steps == 0
            if should_log:
                training.flush_metrics()
            if ends_epoch:
                training.end_epoch()
                bar.set_postfix_str(training.summary(), refresh=False)
            if not should_log and distributed.world_size() > 1:
                continue
            if distributed.any_process(interruption.signal_number > 0):
                training.save(wait=True)
                raise Interrupted(interruption.signal_number, f"saved after step {learner.num_steps} of {num_steps}")
            is_due = time.monotonic() - saved_at >= 60 * compute.checkpoint_every_minutes
            if learner.num_steps < num_steps and distributed.any_process(is_due):
                training.save()
                saved_at = time.monotonic()
    checkpoints.wait()
    return learner


class _Training:
    """A task on its way through the steps of `schedule`."""

    def __init__(
        self,
        task: TrainTask,
        settings: TrainSettings[PretrainParams] | TrainSettings[FinetuneParams],
        device: torch.device,
        checkpoints: CheckpointStore,
        tracker: Tracker,
    ) -> None:
        recipe = settings.recipe
        self.is_main = distributed.rank() == 0
        distributed.check_divides(recipe.batch_size, recipe.accumulation_steps)
        self.steps_per_epoch = num_batches(len(task.clips), recipe.batch_size, drop_last=True)
        self.schedule = _schedule(recipe, self.steps_per_epoch)
        self._task, self._settings, self._recipe, self._device = task, settings, recipe, device
        self._checkpoints, self._tracker = checkpoints, tracker
        self._objective = distributed.wrap_ddp(task.objective, device)
        self._forward: Callable[..., dict[str, Tensor]] = self._objective
        if settings.compute.compile:
            mixed = isinstance(task.clips, JoinedClips) and task.clips.kinds is not None
            self._forward = torch.compile(self._objective, dynamic=None if mixed else False)  # then sizes vary
        self.learner = Learner(task.model, task.optimizer, recipe)
        state = checkpoints.latest()
        if state is not None:
            self.learner.restore(state)
            self._log_line(f"going on after step {self.learner.num_steps} of {len(self.schedule)}")
        distributed.check_same_step(self.learner.num_steps)
        self.feed = Feed(self._batches(self.learner.num_steps), device)
        self._since = time.perf_counter(), self.learner.num_steps

    def step(self, batch: Batch) -> None:
        """One optimizer step."""
        step, num_parts, precision = self.learner.num_steps, self._recipe.accumulation_steps, self._recipe.precision
        totals: dict[str, Tensor] = {}
        for part, clips in enumerate(batch.micro_batches(num_parts)):
            inputs = self._task.make_inputs(clips, step, part)
            seed_everything(self._settings.seed, "stochastic depth", step, distributed.rank(), part)
            with distributed.accumulating(self._objective, is_last=part == num_parts - 1):
                with torch.autocast(self._device.type, _DTYPES[precision], precision != "float32"):
                    losses = self._forward(*inputs)
                self.learner.backward(next(iter(losses.values())) / num_parts)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0) + loss.detach().float() / num_parts
        self.learner.step(self.schedule[step], totals)

    def flush_metrics(self) -> None:
        """Read and log what the steps have measured.

        Raises:
            ValueError: If one was not finite and that stops the training.
        """
        reading = self.learner.meter.read()
        if reading.skipped and self._recipe.on_nonfinite == "stop":
            step = reading.skipped[0]
            path = self._checkpoints.folder / f"nonfinite-step-{step}-rank-{distributed.rank()}.pt"
            batch = next(iter(Feed(self._batches(step), self._device)))
            micro_batches = batch.micro_batches(self._recipe.accumulation_steps)
            dump_and_raise_nonfinite(step, micro_batches, self._task.make_inputs, self._task.objective, path)
        if not self.is_main:
            return
        for name, points in reading.series.items():
            self._tracker.log_series(f"step/{name}", points)
        taken = next(iter(reading.series.values()), [])
        self._tracker.log_series("step/lr", [(step, self.schedule[step]) for step, _ in taken])
        for step in reading.skipped:
            log_line(f"step {step}: a loss or gradient is not finite; the step is skipped")
        for step, times in reading.spikes.items():
            log_line(f"step {step}: the gradient's norm is {times:.0f} times its recent median")

    def end_epoch(self) -> None:
        """Validate, and append to the history."""
        epoch = len(self.learner.history)
        row: Row = {"epoch": epoch} | self.learner.meter.end_epoch()
        row |= {"lr": self.schedule[self.learner.num_steps - 1]} | self._pace()
        if self._task.validate is not None:
            with self.learner.averaged():
                row |= self._task.validate()
            self._task.model.train()
        is_best = self.learner.end_epoch(row)
        if self.is_main:
            if is_best:
                self._checkpoints.save_best(self.learner.weights(), epoch)
            self._tracker.log_metrics({name: row[name] for name in row if name != "epoch"}, step=epoch)
        self._since = time.perf_counter(), self.learner.num_steps

    def summary(self) -> str:
        """The newest epoch, for the progress bar."""
        name, value = list(self.learner.history[-1].items())[1]
        return f"epoch {len(self.learner.history)}, {name} {value:.4f}"

    def save(self, wait: bool = False) -> None:
        """Keep a checkpoint of the state after the newest step."""
        self.flush_metrics()
        if self.is_main:
            self._checkpoints.save(self.learner.state(), self.learner.num_steps, wait)

    def _pace(self) -> Row:
        """Clips per second, and the share of the time spent waiting for them, in this epoch and this process."""
        since, first = self._since
        seconds = time.perf_counter() - since
        share = self.feed.pop_data_wait_seconds() / seconds
        if share > _MUCH_WAITING:
            self._log_line(f"waiting for data {share:.0%} of the time; raise compute.num_workers")
        num_clips = (self.learner.num_steps - first) * self._recipe.batch_size
        return {"samples_per_second": num_clips / seconds, "waiting_share": share}

    def _batches(self, start_step: int) -> Iterator[Batch]:
        return training_batches(
            self._task.clips,
            self._recipe.batch_size,
            self._settings.seed,
            self._recipe.epochs,
            self._settings.compute.num_workers,
            drop_last=True,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            start_step=start_step,
            weights=self._task.sampling_weights,
        )

    def _log_line(self, text: str) -> None:
        if self.is_main:
            log_line(text)


def _schedule(recipe: PretrainParams | FinetuneParams, steps_per_epoch: int) -> list[float]:
    scale = recipe.batch_size / REFERENCE_BATCH
    base_lr, min_lr = recipe.base_lr * scale, recipe.min_lr * scale
    result: list[float] = cosine_schedule(
        base_lr, min_lr, recipe.epochs, steps_per_epoch, recipe.warmup_epochs
    ).tolist()
    return result
