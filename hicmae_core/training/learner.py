"""A model in training: everything that changes while it learns, and that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hicmae_core.config import FinetuneParams, PretrainParams
from hicmae_core.training.meter import Meter
from hicmae_core.training.optim import set_learning_rate
from hicmae_core.training.randomness import random_state, restore_random_state

Row = dict[str, float]
"""One epoch of a history: metric name to value, `epoch` (from 0) first."""


class Learner:
    """A model with its optimizer, the average of its weights, its history and what it has measured.

    Attributes:
        model: Trained in place.
        optimizer: Over its parameters (`optim.adamw`).
        num_steps: Optimizer steps done.
        history: One row per finished epoch.
        meter: What the steps of the epoch at hand have measured.
        best_epoch: Epoch (from 0) of the highest `score`, the first of equals; None where none is scored.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: PretrainParams | FinetuneParams
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.num_steps = 0
        self.history: list[Row] = []
        self.meter = Meter()
        self.best_epoch: int | None = None
        self._clip_grad = recipe.clip_grad
        self._stops = recipe.on_nonfinite == "stop"
        self._parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        device = self._parameters[0].device
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self._bad = torch.zeros((), device=device)
        self._average = [parameter.detach().clone() for parameter in self._parameters] if recipe.ema_decay else []
        self._update_average = get_ema_multi_avg_fn(recipe.ema_decay) if recipe.ema_decay else None

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`."""
        self._scaler.scale(loss).backward()

    def step(self, learning_rate: float, losses: Mapping[str, Tensor]) -> None:
        """Unscale, clip, step, zero the gradients of `losses`.

        Skip the step if the norm is not finite, and, if that stops the training, every later one: the decision stays on
        the device until the meter is read.
        """
        set_learning_rate(self.optimizer, learning_rate)
        self._scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        witness = next(iter(losses.values())).detach() if self._scaler.is_enabled() else norm
        bad = (~torch.isfinite(witness)).float()
        self._bad = torch.maximum(self._bad, bad) if self._stops else bad
        if self._clip_grad is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._clip_grad, norm)
        if self._scaler.is_enabled():  # it looks for infinities itself, and lowers its scale
            self._scaler.step(self.optimizer)
            self._scaler.update()
        else:
            self.optimizer.found_inf = self._bad  # type: ignore[attr-defined]  # the fused step's own switch
            self.optimizer.step()
        self.optimizer.zero_grad()
        if self._update_average is not None:
            with torch.no_grad():
                self._update_average(self._average, [parameter.detach() for parameter in self._parameters], 0)
        self.meter.add(self.num_steps, losses, norm, self._bad)
        self.num_steps += 1

    def end_epoch(self, row: Row) -> bool:
        """Append to the history; whether the row's `score` is the highest so far."""
        self.history.append(row)
        best = self.best_epoch
        if "score" not in row or (best is not None and row["score"] <= self.history[best]["score"]):
            return False
        self.best_epoch = int(row["epoch"])
        return True

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with the average of its weights, where one is kept."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def weights(self) -> dict[str, Tensor]:
        """A copy of all weights on the CPU, averaged where an average is kept."""
        with self.averaged():
            return {name: value.detach().to("cpu", copy=True) for name, value in self.model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average,
            "num_steps": self.num_steps,
            "history": self.history,
            "meter": self.meter.state(),
            "best_epoch": self.best_epoch,
            "random": random_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        with torch.no_grad():
            for average, value in zip(self._average, state["average"], strict=True):
                average.copy_(value)
        self.num_steps = state["num_steps"]
        self.history = list(state["history"])
        self.meter.restore(state["meter"])
        self.best_epoch = state["best_epoch"]
        restore_random_state(state["random"])

    @torch.no_grad()
    def _swap(self) -> None:
        for average, parameter in zip(self._average, self._parameters, strict=False):  # no average, no swap
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)
