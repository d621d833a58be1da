"""Trainings that are killed, and started again, and leave what each of their processes did."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hicmae.command import supervise
from tests.forking import FORKS, Dying

from .train_toy import train

STEPS_PER_EPOCH = 3
STEPS_PER_KILL = 6
"""So many more than a process does before it is killed that none ends by itself."""
TIMEOUT_SECONDS = 1000


@dataclass(frozen=True)
class Life:
    """What one process of a training did.

    Attributes:
        exit_code: How it ended.
        losses: Of its steps, as far as it told them.
        told: What it wrote to its standard error.
    """

    exit_code: int | None
    losses: dict[int, float]
    told: str

    @property
    def first(self) -> int:
        """Its first step."""
        return min(self.losses)

    @property
    def last(self) -> int:
        """Its last step."""
        return max(self.losses)


class Training:
    """A toy training in a folder, one process after the other."""

    def __init__(self, kind: str, clips: Path, folder: Path, sections: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        self._arguments = (kind, clips, folder, sections)
        self._process: BaseProcess

    @property
    def pid(self) -> int:
        """The process that was started last."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def model(self) -> bytes:
        """The file of the finished model."""
        return (self.folder / "model.safetensors").read_bytes()

    @property
    def history(self) -> pd.DataFrame:
        """The finished training's history, without what follows the clock."""
        return pd.read_csv(self.folder / "history.csv").drop(columns=["samples_per_second", "waiting_share"])

    def live(self) -> Life:
        """Begin or go on, and end undisturbed."""
        self.start()
        return self.finish()

    def start(self, calls_left: int = 0) -> None:
        """Begin, or go on from a checkpoint; given their number, die at an operation on a file."""
        number = len(list(self.folder.glob("steps-*.txt")))
        self._log, self._steps = self.folder / f"log-{number:02d}.txt", self.folder / f"steps-{number:02d}.txt"
        self._process = FORKS.Process(target=_live, args=(calls_left, self._log, *self._arguments))
        self._process.start()

    def finish(self, *exit_codes: int) -> Life:
        """Let the process end, without an error if no other end is expected."""
        self._process.join(TIMEOUT_SECONDS)
        assert self._process.exitcode in (exit_codes or (0,)), self._log.read_text()
        return self._life()

    def kill(self) -> Life:
        """End the process at once."""
        os.kill(self.pid, signal.SIGKILL)
        return self.finish(-signal.SIGKILL)

    def wait_for_steps(self, number: int) -> None:
        """Return once the process has told this many steps."""
        self.wait_for(lambda: self._steps.is_file() and self._steps.read_text().count("\n") >= number)

    def wait_for_writing(self, pattern: str) -> None:
        """Return while a file is being written whose temporary name fits, such as ``checkpoints/.*.part``."""
        self.wait_for(lambda: any(self.folder.glob(pattern)))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return as soon as something is so."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert self._process.is_alive(), f"it ended too early:\n{self._log.read_text()}"
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def _life(self) -> Life:
        lines = [line.split() for line in self._steps.read_text().splitlines() if line]
        return Life(self._process.exitcode, {int(step): float(loss) for step, loss in lines}, self._log.read_text())


SECTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "pretrain": {"pretrain": {"ema_decay": 0.9, "accumulation_steps": 2, "clip_grad": 1.0}},
    "finetune": {"finetune": {"selection": "validation", "class_balance": "sampler"}},
}
"""Trainings with as much to remember as can be: averages, parts of batches, best weights, draws with replacement."""


def sections(kind: str, num_steps: int, **compute: Any) -> dict[str, dict[str, Any]]:
    """The parameters of a training of so many steps that tells of each one, and writes a checkpoint after it."""
    return {
        kind: SECTIONS[kind][kind] | {"epochs": num_steps // STEPS_PER_EPOCH},
        "compute": {"device": "cpu", "log_every_steps": 1, "checkpoint_every_minutes": 0} | compute,
    }


def kill_often(training: Training, num_kills: int, seed: int) -> Iterator[tuple[str, Life]]:
    """Start a training again and again and kill it at random moments, each third time while it writes a checkpoint.

    Yields:
        What it was doing, and what the process had done.
    """
    rng = random.Random(seed)
    for number in range(num_kills):
        training.start()
        training.wait_for_steps(rng.randint(2, 4))  # the first checkpoint is written beside the second step
        if number % 3 == 2:
            training.wait_for_writing("checkpoints/.*.part")
            yield "writing a checkpoint", training.kill()
        else:
            time.sleep(rng.uniform(0, 0.05))
            yield "any", training.kill()


def differences(whole: Training, undisturbed: Life, parts: Training, lives: Sequence[Life]) -> list[str]:
    """What tells a training that was killed from one that was not."""
    found = []
    if parts.model != whole.model:
        found.append("the model's file differs")
    if not parts.history.equals(whole.history):
        found.append("the history differs")
    for number, life in enumerate(lives):
        wrong = [step for step, loss in life.losses.items() if loss != undisturbed.losses[step]]
        if wrong:
            found.append(f"process {number} had another loss at steps {wrong}")
        if life.first > 0 and f"going on after step {life.first} " not in life.told:
            found.append(f"process {number} began at step {life.first} and did not say so")
    missing = set(undisturbed.losses) - {step for life in lives for step in life.losses}
    if missing:
        found.append(f"nobody told of steps {sorted(missing)}")
    return found


def _live(calls_left: int, log: Path, kind: str, clips: Path, folder: Path, values: dict[str, dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    torch.set_num_threads(1)
    if calls_left:
        dying = Dying(calls_left)
        for name in ("replace", "fsync", "unlink", "rmdir"):
            setattr(os, name, dying(getattr(os, name)))
    supervise(partial(train, kind, clips, folder, values))
