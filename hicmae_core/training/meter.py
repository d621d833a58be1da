"""Metrics of every optimizer step, kept on the device and read rarely, and the dump of a batch that is not finite."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from hicmae_core.data.clips import Batch
from hicmae_core.files import atomic_path
from hicmae_core.training import distributed

GRADIENT_NORM = "gradient_norm"
_SPIKE = 10.0  # times the median of recent norms
_NUM_RECENT = 100
_NUM_NEEDED = 20


@dataclass
class Reading:
    """Steps that were read together.

    Attributes:
        series: Values by name, points (step, value): every loss and `GRADIENT_NORM`, of the steps that were taken.
        skipped: Steps that were not taken, because something was not finite.
        spikes: Steps whose gradient norm was far above the recent ones', with how many times.
    """

    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)
    spikes: dict[int, float] = field(default_factory=dict)


class Meter:
    """Losses and gradient norms of the steps of an epoch.

    Reading waits for the device; between two readings no step does.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._unread: list[tuple[int, Tensor]] = []
        self._recent: list[float] = []
        self._sums: dict[str, list[float]] = {}
        self._num_skipped = 0
        self._num_spikes = 0

    def add(self, step: int, losses: Mapping[str, Tensor], gradient_norm: Tensor, skipped: Tensor) -> None:
        """Remember scalars on the device; `skipped` is 1 where the optimizer did not take the step."""
        self._names = [*losses, GRADIENT_NORM]
        values = [*losses.values(), gradient_norm, skipped]
        self._unread.append((step, torch.stack([value.detach().float() for value in values])))

    def read(self) -> Reading:
        """Everything that was added since the last reading; losses are means over all processes."""
        reading = Reading({name: [] for name in self._names})
        if not self._unread:
            return reading
        steps, values = zip(*self._unread, strict=True)
        self._unread = []
        for step, row in zip(steps, distributed.all_reduce_mean(torch.stack(values)).tolist(), strict=True):
            *numbers, skipped = row
            if skipped:
                reading.skipped.append(step)
                continue
            for name, number in zip(self._names, numbers, strict=True):
                if math.isfinite(number):  # half precision's scaler meets infinite gradients, and copes
                    reading.series[name].append((step, number))
                    self._sums.setdefault(name, []).append(number)
            times = self._times_the_usual(numbers[-1])
            if times > _SPIKE:
                reading.spikes[step] = times
        self._num_skipped += len(reading.skipped)
        self._num_spikes += len(reading.spikes)
        return reading

    def end_epoch(self) -> dict[str, float]:
        """The means of an epoch that has been read, the number of skipped steps and of spikes; the next one begins.

        Raises:
            ValueError: If not one step was taken.
        """
        if not self._sums:
            raise ValueError("not one step of this epoch had finite losses and gradients; lower base_lr")
        row = {name: statistics.fmean(values) for name, values in self._sums.items()}
        row |= {"skipped_steps": float(self._num_skipped), "gradient_spikes": float(self._num_spikes)}
        self._sums, self._num_skipped, self._num_spikes = {}, 0, 0
        return row

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs; all steps have been read."""
        assert not self._unread
        return {
            "recent": self._recent,
            "sums": self._sums,
            "num_skipped": self._num_skipped,
            "num_spikes": self._num_spikes,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to `state`."""
        self._recent = list(state["recent"])
        self._sums = {name: list(values) for name, values in state["sums"].items()}
        self._num_skipped, self._num_spikes = state["num_skipped"], state["num_spikes"]

    def _times_the_usual(self, norm: float) -> float:
        """A norm over the median of recent ones; 0 while too few are known. It is one of them from now on."""
        recent: Sequence[float] = self._recent
        usual = statistics.median(recent) if len(recent) >= _NUM_NEEDED else math.inf
        if not math.isfinite(norm):
            return 0.0
        self._recent = [*recent, norm][-_NUM_RECENT:]
        return norm / usual if usual > 0 else 0.0


@torch.no_grad()
def dump_and_raise_nonfinite(
    step: int,
    micro_batches: list[Batch],
    make_inputs: Callable[[Batch, int, int], tuple[Tensor, ...]],
    objective: nn.Module,
    path: Path,
) -> NoReturn:
    """Save what a step was computed from, and end the training.

    Args:
        step: The optimizer step, from 0; it has not been taken.
        micro_batches: Its clips, on the device.
        make_inputs: As in `loop.TrainTask`.
        objective: Likewise.
        path: Gets `step`, `objective` (its weights), and `micro_batches`: for each its `clip_ids`, the
            objective's `inputs` and its `losses`, computed once more in full precision.

    Raises:
        ValueError: Always, naming the step, the losses, the clips and the file.
    """
    saved: list[dict[str, Any]] = []
    for part, clips in enumerate(micro_batches):
        inputs = make_inputs(clips, step, part)
        losses = {name: loss.item() for name, loss in objective(*inputs).items()}
        saved.append({"clip_ids": clips.clip_ids, "inputs": inputs, "losses": losses})
    with atomic_path(path) as temporary:
        torch.save({"step": step, "objective": objective.state_dict(), "micro_batches": saved}, temporary)
    worst = [part for part in saved if not all(map(math.isfinite, part["losses"].values()))] or saved
    values = ", ".join(f"{name} {value:g}" for name, value in worst[0]["losses"].items())
    clip_ids = ", ".join(clip_id for part in worst for clip_id in part["clip_ids"])
    raise ValueError(
        f"a loss or gradient is not finite at step {step} ({values}) on the clips {clip_ids}; no step was taken on "
        f"them, and {path} holds inputs and weights. Look at these clips, lower base_lr, set clip_grad or raise "
        "precision, or set on_nonfinite: skip; then run again"
    )
