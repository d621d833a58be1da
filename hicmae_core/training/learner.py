"""A model in training: everything that changes while it learns, and that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hicmae_core.training.optim import adamw

Row = dict[str, float]
"""One epoch of a history: metric name to value, `epoch` (from 0) first."""


class Learner:
    """A model with its optimizer, its history and, where epochs are scored, its best weights so far.

    Attributes:
        model: Trained in place.
        optimizer: AdamW over its parameters.
        history: One row per finished epoch.
        best_epoch: Epoch (from 0) of the highest score, the first of equals; None where none is scored.
    """

    def __init__(self, model: nn.Module, groups: list[dict[str, Any]], betas: tuple[float, float], half: bool) -> None:
        device = next(model.parameters()).device
        self.model = model
        self.optimizer = adamw(groups, betas)
        self.history: list[Row] = []
        self.best_epoch: int | None = None
        self._best_weights: dict[str, Tensor] = {}
        self._scaler = torch.amp.GradScaler(device.type, enabled=half)

    def step(self, loss: Tensor, clip_grad: float | None) -> None:
        """One optimizer step down the gradient of `loss`, whose norm is clipped to `clip_grad`."""
        self.optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        if clip_grad is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), clip_grad)
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def end_epoch(self, row: Row) -> None:
        """Append to the history; keep the weights if the row's `score` is the highest so far."""
        self.history.append(row)
        if "score" not in row:
            return
        if self.best_epoch is None or row["score"] > self.history[self.best_epoch]["score"]:
            self.best_epoch = int(row["epoch"])
            self._best_weights = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def choose_best(self) -> None:
        """Put the best epoch's weights into the model; the last one's stay where none is scored."""
        if self.best_epoch is not None:
            self.model.load_state_dict(self._best_weights)

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self._best_weights,
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go back to `state`; None is a fresh start."""
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.history = list(state["history"])
        self.best_epoch = state["best_epoch"]
        self._best_weights = dict(state["best_weights"])
