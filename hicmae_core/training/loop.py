"""The training loop, the same for pre-training and fine-tuning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hicmae_core.config import ComputeParams, FinetuneParams, PretrainParams
from hicmae_core.data.batches import num_batches, training_batches
from hicmae_core.data.clips import Batch
from hicmae_core.data.joined import Clips, JoinedClips
from hicmae_core.progress import progress_bar, tell
from hicmae_core.runtime import Interrupted, noted_signals
from hicmae_core.training import distributed
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.feeding import Feed
from hicmae_core.training.learner import Learner, Row
from hicmae_core.training.meter import refuse
from hicmae_core.training.optim import REFERENCE_BATCH, cosine_schedule
from hicmae_core.training.randomness import deterministic, seed_everything
from hicmae_core.training.tracker import Tracker

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_MUCH_WAITING = 0.1


@dataclass(frozen=True)
class Task:
    """What is trained: a model, its data and what is asked of it.

    Attributes:
        model: The model, on its device; what is saved.
        objective: Holds the model, and gives scalar losses by name of what `inputs_of` made; the first is minimised.
        clips: What it is trained on.
        inputs_of: The objective's inputs, augmented, of (clips on the device, optimizer step, part of its batch).
        layer_decay: Factor of the learning rate from each layer to the one below; None treats all alike.
        validate: Metrics after an epoch, among them `score`: the weights of the epoch with the highest
            score, the first of equals, are kept. None keeps the last epoch's.
        sampling_weights: How often to draw each clip, ``[N]``, with replacement; None reads each once an epoch.
    """

    model: nn.Module
    objective: nn.Module
    clips: Clips
    inputs_of: Callable[[Batch, int, int], tuple[Tensor, ...]]
    layer_decay: float | None = None
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

    Between two looks at the losses, every `compute.log_every_steps` steps, nothing waits for the device. Processes that
    train together decide at these looks whether to save or to end.

    Returns:
        The learner at the end, with the history, one row per epoch.

    Raises:
        ValueError: If the clips do not fill one batch, a batch does not fit the processes and parts, or a loss or
            gradient is not finite, naming the clips of its batch; no step is taken on it.
        Interrupted: After SIGTERM or Ctrl-C, when the state is saved.
    """
    training = _Training(task, params, run)
    learner, num_steps = training.learner, len(training.schedule)
    saved_at = time.monotonic()
    with (
        deterministic(run.compute.deterministic),
        noted_signals() as interruption,
        progress_bar(total=num_steps, initial=learner.num_steps, unit="step", disable=not training.is_main) as bar,
    ):
        task.model.train()
        for batch in training.feed:
            training.step(batch)
            bar.update()
            ends_epoch = learner.num_steps % training.steps_per_epoch == 0
            looks = ends_epoch or learner.num_steps % run.compute.log_every_steps == 0
            if looks:
                training.look()
            if ends_epoch:
                training.end_epoch()
                bar.set_postfix_str(training.summary(), refresh=False)
            if not looks and distributed.world_size() > 1:
                continue
            if distributed.any_process(interruption.signal_number > 0):
                training.save(wait=True)
                raise Interrupted(interruption.signal_number, f"saved after step {learner.num_steps} of {num_steps}")
            is_due = time.monotonic() - saved_at >= 60 * run.compute.checkpoint_every_minutes
            if learner.num_steps < num_steps and distributed.any_process(is_due):
                training.save()
                saved_at = time.monotonic()
    run.checkpoints.wait()
    return learner


class _Training:
    """A task on its way through the steps of `schedule`."""

    def __init__(self, task: Task, params: PretrainParams | FinetuneParams, run: Run) -> None:
        self.is_main = distributed.rank() == 0
        distributed.check_divides(params.batch_size, params.accumulation_steps)
        self.steps_per_epoch = num_batches(len(task.clips), params.batch_size, drop_last=True)
        self.schedule = _schedule(params, self.steps_per_epoch)
        self._task, self._params, self._run = task, params, run
        self._objective = distributed.wrap_ddp(task.objective, run.device)
        self._forward: Callable[..., dict[str, Tensor]] = self._objective
        if run.compute.compile:
            mixed = isinstance(task.clips, JoinedClips) and task.clips.kinds is not None
            self._forward = torch.compile(self._objective, dynamic=None if mixed else False)  # then sizes vary
        self.learner = Learner(task.model, params, task.layer_decay)
        state = run.checkpoints.latest()
        if state is not None:
            self.learner.restore(state)
            self._tell(f"going on after step {self.learner.num_steps} of {len(self.schedule)}")
        distributed.check_same_step(self.learner.num_steps)
        self.feed = Feed(self._batches(self.learner.num_steps), run.device)
        self._since = time.perf_counter(), self.learner.num_steps

    def step(self, batch: Batch) -> None:
        """One optimizer step."""
        step, num_parts, precision = self.learner.num_steps, self._params.accumulation_steps, self._params.precision
        totals: dict[str, Tensor] = {}
        for part, clips in enumerate(batch.parts(num_parts)):
            inputs = self._task.inputs_of(clips, step, part)
            seed_everything(self._run.seed, "stochastic depth", step, distributed.rank(), part)
            with distributed.accumulating(self._objective, is_last=part == num_parts - 1):
                with torch.autocast(self._run.device.type, _DTYPES[precision], precision != "float32"):
                    losses = self._forward(*inputs)
                self.learner.backward(next(iter(losses.values())) / num_parts)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0) + loss.detach().float() / num_parts
        self.learner.step(self.schedule[step], totals)

    def look(self) -> None:
        """Read and report what the steps have measured.

        Raises:
            ValueError: If one was not finite and that stops the training.
        """
        reading = self.learner.meter.read()
        if reading.skipped and self._params.on_nonfinite == "stop":
            step = reading.skipped[0]
            path = self._run.checkpoints.folder / f"nonfinite-step-{step}-rank-{distributed.rank()}.pt"
            batch = next(iter(Feed(self._batches(step), self._run.device)))
            refuse(step, batch.parts(self._params.accumulation_steps), self._task.inputs_of, self._task.objective, path)
        if not self.is_main:
            return
        for name, points in reading.series.items():
            self._run.tracker.log_series(f"step/{name}", points)
        taken = next(iter(reading.series.values()), [])
        self._run.tracker.log_series("step/lr", [(step, self.schedule[step]) for step, _ in taken])
        for step in reading.skipped:
            tell(f"step {step}: a loss or gradient is not finite; the step is skipped")
        for step, times in reading.spikes.items():
            tell(f"step {step}: the gradient's norm is {times:.0f} times its recent median")

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
                self._run.checkpoints.save_best(self.learner.weights(), epoch)
            self._run.tracker.log_metrics({name: row[name] for name in row if name != "epoch"}, step=epoch)
        self._since = time.perf_counter(), self.learner.num_steps

    def summary(self) -> str:
        """The newest epoch, for the progress bar."""
        name, value = list(self.learner.history[-1].items())[1]
        return f"epoch {len(self.learner.history)}, {name} {value:.4f}"

    def save(self, wait: bool = False) -> None:
        """Keep a checkpoint of the state after the newest step."""
        self.look()
        if self.is_main:
            self._run.checkpoints.save(self.learner.state(), self.learner.num_steps, wait)

    def _pace(self) -> Row:
        """Clips per second, and the share of the time spent waiting for them, in this epoch and this process."""
        since, first = self._since
        seconds = time.perf_counter() - since
        share = self.feed.take_waiting_seconds() / seconds
        if share > _MUCH_WAITING:
            self._tell(f"waiting for data {share:.0%} of the time; raise compute.num_workers")
        num_clips = (self.learner.num_steps - first) * self._params.batch_size
        return {"samples_per_second": num_clips / seconds, "waiting_share": share}

    def _batches(self, start_step: int) -> Iterator[Batch]:
        return training_batches(
            self._task.clips,
            self._params.batch_size,
            self._run.seed,
            self._params.epochs,
            self._run.compute.num_workers,
            drop_last=True,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            start_step=start_step,
            weights=self._task.sampling_weights,
        )

    def _tell(self, text: str) -> None:
        if self.is_main:
            tell(text)


def _schedule(params: PretrainParams | FinetuneParams, steps_per_epoch: int) -> list[float]:
    scale = params.batch_size / REFERENCE_BATCH
    base_lr, min_lr = params.base_lr * scale, params.min_lr * scale
    result: list[float] = cosine_schedule(
        base_lr, min_lr, params.epochs, steps_per_epoch, params.warmup_epochs
    ).tolist()
    return result
