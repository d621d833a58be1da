"""Training steps against the same model written plainly (benchmarks/plain_model.py), in turns in one process.

A step goes from augmented clips on the host to changed weights. On a CPU, time is what the threads had, divided by
their number. On a GPU it is the clock's, and where ours runs bfloat16 the plain arm runs float16 with gradient scaling.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated, get_args

import torch
import typer
from torch import Tensor

from benchmarks.machine import matrix_peak, memory_of, seconds
from benchmarks.plain_model import PlainClassifier, PlainPretraining
from benchmarks.plain_step import draw_masks, plain_step
from benchmarks.work import TASKS, Size, Task, build_objective, objective_inputs, synthetic_clips, work_of
from hicmae.command import run
from hicmae_core.config import FinetuneParams, Precision, PretrainParams
from hicmae_core.model.layers import checkpoint_blocks
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.progress import log_line, progress_bar
from hicmae_core.runtime import device_named
from hicmae_core.training.learner import Learner
from hicmae_core.training.objectives import FinetuningObjective, PretrainingObjective
from hicmae_core.training.optim import adamw
from hicmae_core.training.randomness import seed_everything

EXAMPLES = """
python -m benchmarks.train_step                                   # tiny, pre-training and fine-tuning
python -m benchmarks.train_step --size tiny small base --compile  # many minutes on a CPU, most of them for base
python -m benchmarks.train_step --size base --precision bfloat16 --batch-size 160 --device cuda --compile
"""
Dtype = StrEnum("Dtype", {name: name for name in get_args(Precision)})
LOG_EVERY = 10
LEARNING_RATE = 1e-5
STATE_BYTES = 4 * 3
"""Per parameter: the weight and both moments of AdamW, float32. Gradients are among what a step takes."""


@dataclass(frozen=True)
class Case:
    """What is measured."""

    size: str
    task: str
    precision: str
    batch_size: int
    compiled: bool
    checkpointed: bool
    device: torch.device

    @property
    def name(self) -> str:
        return f"{self.size}, {self.task}, {self.precision}"


@dataclass(frozen=True)
class Result:
    """Medians over the rounds.

    Attributes:
        rates: Clips per second, ours and plain.
        ratio: Median of the rounds' ratios.
        memory: Bytes at the peak, ours and plain: weights, moments, and what a step takes on top.
        teraflops: Ours, of the matrix products of forward and backward pass.
    """

    rates: tuple[float, float]
    ratio: float
    memory: tuple[int, int]
    teraflops: float


Step = Callable[[Tensor, Tensor, Tensor], None]


def our_step(case: Case, objective: PretrainingObjective | FinetuningObjective) -> Step:
    """A step as `training.loop` takes it."""
    settings = PretrainParams if case.task == "pretrain" else FinetuneParams
    params = settings(precision=case.precision)
    if case.checkpointed:
        checkpoint_blocks(objective.model)
    layer_decay = params.layer_decay if isinstance(params, FinetuneParams) else None
    optimizer = adamw(objective.model, params.betas, params.weight_decay, layer_decay)
    learner = Learner(objective.model, optimizer, params)
    forward = torch.compile(objective, dynamic=False) if case.compiled else objective
    kind = case.device.type

    def step(video: Tensor, audio: Tensor, labels: Tensor) -> None:
        inputs = objective_inputs(objective.model, video, audio, labels, learner.num_steps)
        on_device = [x.to(case.device, non_blocking=True) for x in inputs]
        seed_everything(learner.num_steps)
        with torch.autocast(kind, getattr(torch, case.precision), case.precision != "float32"):
            losses = forward(*on_device)
        learner.backward(next(iter(losses.values())))
        learner.step(LEARNING_RATE, losses)
        if learner.num_steps % LOG_EVERY == 0:
            learner.meter.read()

    return step


def their_step(case: Case, objective: PretrainingObjective | FinetuningObjective) -> Step:
    """The plain step, from the same weights."""
    model = objective.model
    pretrains = isinstance(model, PretrainingModel)
    plain = PlainPretraining(model.architecture) if pretrains else PlainClassifier(model.architecture)
    plain.load_state_dict(model.state_dict())
    precision = "float16" if case.device.type == "cuda" and case.precision != "float32" else case.precision
    step_on = plain_step(plain.to(case.device), precision, case.device)

    def step(video: Tensor, audio: Tensor, labels: Tensor) -> None:
        if pretrains:
            masks = draw_masks(len(video), model.video_grid, model.audio_grid)
            step_on(video, masks[0], audio, masks[1])
        else:
            step_on(video, audio, labels[:, 0])

    return step


def measure(case: Case, num_rounds: int) -> Result:
    """Steps of both arms in turns."""
    torch.manual_seed(0)
    objective = build_objective(case.size, case.task)
    clips = synthetic_clips(objective.model.architecture, case.batch_size)
    theirs = their_step(case, objective)
    arms = [partial(step, *clips) for step in (our_step(case, objective.to(case.device)), theirs)]
    for arm in arms:
        arm()  # compiles, and makes the optimizer's moments
    memory = [memory_of(arm, case.device) for arm in arms]
    rounds = []
    for _ in progress_bar(range(num_rounds), desc=case.name):
        rounds.append([seconds(arm, case.device) for arm in arms])
    ours, plain = (statistics.median(times) for times in zip(*rounds, strict=True))
    work = work_of(case.size, case.task)
    state = STATE_BYTES * work.num_parameters
    return Result(
        rates=(case.batch_size / ours, case.batch_size / plain),
        ratio=statistics.median(their / our for our, their in rounds),
        memory=(state + memory[0], state + memory[1]),
        teraflops=work.training_flops * case.batch_size / ours / 1e12,
    )


def row(case: Case, result: Result, peak: float) -> str:
    """A line of the table."""
    ours, plain = result.rates
    tokens = sum(math.prod(grid) for grid in ((8, 10, 10), (16, 8)))
    gib = " / ".join(f"{value / 2**30:.1f}" for value in result.memory)
    share = 1e12 * result.teraflops / peak
    numbers = [f"{plain:.2f}", f"{ours:.2f}", f"{result.ratio:.2f}", f"{ours * tokens:.0f}"]
    return f"| {case.name} | {' | '.join(numbers)} | {result.teraflops:.3f} | {share:.0%} | {gib} |"


def main(
    size: Annotated[list[Size], typer.Option(help="Sizes of the model.", metavar="SIZE...")] = ("tiny",),
    task: Annotated[list[Task], typer.Option(help="pretrain, finetune.", metavar="TASK...")] = TASKS,
    precision: Annotated[list[Dtype], typer.Option(help="Of the steps.", metavar="PRECISION...")] = ("float32",),
    batch_size: Annotated[int, typer.Option(help="Clips of a step.")] = 8,
    num_rounds: Annotated[int, typer.Option(help="Steps of each arm.")] = 5,
    num_threads: Annotated[int, typer.Option(help="On a CPU.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile ours with torch.compile.")] = False,
    recompute: Annotated[
        bool, typer.Option("--activation-checkpointing", help="Recompute ours in the backward pass.")
    ] = False,
) -> None:
    """Measure and print."""
    torch.set_num_threads(num_threads)
    place = device_named(device)
    peaks = {one: matrix_peak(getattr(torch, one), place) for one in precision}
    for one, peak in peaks.items():
        log_line(f"matrix products in {one}: {peak / 1e12:.3f} TFLOP/s")
    print(
        "| size, task, precision | plain, clips/s | ours | ratio | tokens/s | TFLOP/s | of peak | GiB, ours / plain |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for chosen in itertools.product(size, task, precision):
        case = Case(*chosen, batch_size, compiled, recompute, place)
        print(row(case, measure(case, num_rounds), peaks[case.precision]), flush=True)


if __name__ == "__main__":
    run(main, EXAMPLES, __doc__)
