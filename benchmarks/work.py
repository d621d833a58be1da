"""The work of a training step, counted by formula and by torch."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hicmae.command import run
from hicmae_core.config import AUDIO_PATCH, VIDEO_PATCH, DatasetParams, FinetuneParams, PretrainParams
from hicmae_core.model.architecture import IN_CHANNELS, Architecture
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.sizes import SIZES, classifier, pretraining_model
from hicmae_core.training.objectives import FinetuningObjective, PretrainingObjective
from hicmae_core.training.pretrain import draw_scores

NUM_CLASSES = 6
DATASET = DatasetParams(corpus="csv", classes=tuple(f"c{i}" for i in range(NUM_CLASSES)), num_folds=2)
TASKS = ("pretrain", "finetune")
Size = StrEnum("Size", {name: name for name in SIZES})
Task = StrEnum("Task", {name: name for name in TASKS})
_VIDEO_VALUES, _AUDIO_VALUES = IN_CHANNELS * math.prod(VIDEO_PATCH), math.prod(AUDIO_PATCH)
_BYTES_PER_PARAMETER = 4 * 10
"""Of a step, float32: the weight is read three times and written, its gradient written and read, both moments of AdamW
read and written."""


@dataclass(frozen=True)
class Work:
    """What one clip costs in training.

    Attributes:
        forward_flops: Of the matrix products of the forward pass, by formula.
        counted_flops: The same as torch counts them.
        training_flops: Forward and backward pass, as torch counts them.
        activation_bytes: Kept from the forward for the backward pass, in float32.
        num_parameters: Of the model.
    """

    forward_flops: int
    counted_flops: int
    training_flops: int
    activation_bytes: int
    num_parameters: int

    def bytes_per_clip(self, batch_size: int) -> float:
        """Least traffic with memory: activations written and read once, weights and moments shared by a batch."""
        return 2 * self.activation_bytes + _BYTES_PER_PARAMETER * self.num_parameters / batch_size


def build_objective(size: str, task: str) -> PretrainingObjective | FinetuningObjective:
    """A fresh objective, on the default device, with the published mask ratios or drop path."""
    if task == "pretrain":
        return PretrainingObjective(pretraining_model(size), PretrainParams())
    settings = FinetuneParams()
    return FinetuningObjective(classifier(size, NUM_CLASSES, drop_path=settings.drop_path), DATASET, settings)


def synthetic_clips(architecture: Architecture, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise in the shape of augmented clips: video, audio, and label distributions ``[B, 1, classes]``."""
    video = torch.randn(batch_size, *architecture.video_shape)
    audio = torch.randn(batch_size, *architecture.audio_shape)
    return video, audio, torch.rand(batch_size, 1, NUM_CLASSES).softmax(-1)


def objective_inputs(model: nn.Module, video: Tensor, audio: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, ...]:
    """What the objective takes: clips with scores for their masks, or with labels."""
    if not isinstance(model, PretrainingModel):
        return video, audio, labels
    video_scores, audio_scores = draw_scores(model.video_grid, model.audio_grid, len(video), seed)
    return video, video_scores, audio, audio_scores


def work_of(size: str, task: str) -> Work:
    """Count the work of one clip, by running it on the CPU."""
    objective = build_objective(size, task)
    model = objective.model
    inputs = objective_inputs(model, *synthetic_clips(model.architecture, batch_size=1), seed=0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as both:  # other kernels are not counted on a CPU
        with FlopCounterMode(display=False) as forward:
            losses = objective(*inputs)
        next(iter(losses.values())).backward()
    with _Kept(objective) as kept:
        objective(*inputs)
    formula = _pretraining_flops(model) if isinstance(model, PretrainingModel) else _finetuning_flops(model)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return Work(formula, forward.get_total_flops(), both.get_total_flops(), kept.num_bytes, num_parameters)


class _Kept:
    """Bytes of the tensors that autograd keeps, each storage once; weights and buffers are not counted."""

    def __init__(self, objective: nn.Module) -> None:
        own = [*objective.parameters(), *objective.buffers()]
        self._storages = {tensor.untyped_storage()._cdata: 0 for tensor in own}
        self._alive: list[Tensor] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    @property
    def num_bytes(self) -> int:
        return sum(self._storages.values())

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._storages.setdefault(storage._cdata, storage.nbytes())
        self._alive.append(tensor)
        return tensor

    def __enter__(self) -> _Kept:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)


def _pretraining_flops(model: PretrainingModel) -> int:
    a = model.architecture
    num_video, num_audio = math.prod(model.video_grid), math.prod(model.audio_grid)
    settings = PretrainParams()
    num_space = math.prod(model.video_grid[1:])
    video = num_video - int(settings.video_mask_ratio * num_space) * model.video_grid[0]
    audio = num_audio - int(settings.audio_mask_ratio * num_audio)
    macs = video * _VIDEO_VALUES * a.video_dim + a.video_depth * _block(video, a.video_dim)
    macs += audio * _AUDIO_VALUES * a.audio_dim + a.audio_depth * _block(audio, a.audio_dim)
    macs += len(a.levels) * a.video_dim + _fusion(a, video, audio)
    for tokens, visible, dim, out_dim, depth, values in (
        (num_video, video, a.video_dim, a.video_decoder_dim, a.video_decoder_depth, _VIDEO_VALUES),
        (num_audio, audio, a.audio_dim, a.audio_decoder_dim, a.audio_decoder_depth, _AUDIO_VALUES),
    ):
        macs += depth * visible * dim * out_dim  # the fusion's output for the first block, a level for each other one
        macs += (depth - 1) * _block(tokens, out_dim) + _block(tokens, out_dim, num_asking=tokens - visible)
        macs += (depth - 1) * _cross(tokens, out_dim, visible, out_dim) + (tokens - visible) * out_dim * values
    return 2 * macs


def _finetuning_flops(model: Classifier) -> int:
    a = model.architecture
    video, audio = math.prod(model.encoder.patch_embed.grid), math.prod(model.encoder_audio.patch_embed.grid)
    macs = video * _VIDEO_VALUES * a.video_dim + a.video_depth * _block(video, a.video_dim)
    macs += audio * _AUDIO_VALUES * a.audio_dim + a.audio_depth * _block(audio, a.audio_dim)
    return 2 * (macs + _fusion(a, video, audio) + 2 * (a.video_dim + a.audio_dim) * a.num_outputs)


def _fusion(a: Architecture, video: int, audio: int) -> int:
    streams = (video, a.video_dim, audio, a.audio_dim), (audio, a.audio_dim, video, a.video_dim)
    return a.fusion_depth * sum(_block(n, d) + _cross(n, d, m, e) for n, d, m, e in streams)


def _block(tokens: int, dim: int, num_asking: int | None = None) -> int:
    """Multiply-adds of a block, all of whose tokens are read and `num_asking` computed: keys and values, two other
    projections, an MLP of ratio 4, and the attention itself."""
    asking = tokens if num_asking is None else num_asking
    return 2 * tokens * dim**2 + 10 * asking * dim**2 + 2 * tokens * asking * dim


def _cross(tokens: int, dim: int, context: int, context_dim: int) -> int:
    return 2 * tokens * dim**2 + 2 * context * context_dim * dim + 2 * tokens * context * dim


def main(
    size: Annotated[list[Size], typer.Option(help="Sizes of the model.", metavar="SIZE...")] = (
        "tiny",
        "small",
        "base",
    ),
    task: Annotated[list[Task], typer.Option(help="pretrain, finetune.", metavar="TASK...")] = TASKS,
    batch_size: Annotated[int, typer.Option(help="Clips that share the weights' traffic.")] = 8,
) -> None:
    """Count and print."""
    print("| size | task | parameters | forward GFLOP | by torch | training GFLOP | activations MB | traffic MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for one, kind in itertools.product(size, task):
        work = work_of(one, kind)
        flops = (work.forward_flops, work.counted_flops, work.training_flops)
        sizes = (work.activation_bytes, work.bytes_per_clip(batch_size))
        numbers = [f"{value / 1e9:.2f}" for value in flops] + [f"{value / 1e6:.0f}" for value in sizes]
        print(f"| {one} | {kind} | {work.num_parameters / 1e6:.1f} M | {' | '.join(numbers)} |")


if __name__ == "__main__":
    run(main, "python -m benchmarks.work --size base --task pretrain finetune", __doc__)
