"""Pre-training of HiCMAE on clips without labels (paper section 3.2 to 3.4)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hicmae_core.code import code_of
from hicmae_core.config import Modality, Params, PretrainParams
from hicmae_core.data.augmentation import audio_gain, multi_scale_corner_crop
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.data.joined import Clips, JoinedClips
from hicmae_core.files import fingerprint
from hicmae_core.model.artifact import load_pretrained, save_model
from hicmae_core.model.layers import checkpoint_blocks
from hicmae_core.model.masking import random_mask, tube_mask
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.model.weights_file import load_weights
from hicmae_core.training import distributed
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.loop import TrainSettings, TrainTask, train
from hicmae_core.training.objectives import PretrainingObjective
from hicmae_core.training.optim import adamw
from hicmae_core.training.randomness import Key, generator_for, seed_everything
from hicmae_core.training.tracker import NullTracker, Tracker, summarise, write_history

LOSSES = ("total", "video", "audio", "contrastive")
"""Of the last epoch: what `dvc metrics diff` compares. All else is in the history and in MLflow."""

Grid = tuple[int, ...]
"""Tokens along each axis."""


def pretraining_inputs(params: Params, data: Sequence[Path]) -> dict[str, Any]:
    """Everything that determines a pre-training's result, by name; paths stand for their content.

    Args:
        params: All parameters; those of this training count.
        data: Small files that follow the data: the manifest and the stores' indices.
    """
    return {
        "seed": params.seed,
        "faces": params.faces,
        "model": params.model,
        "pretrain": params.pretrain,
        "data": data,
        "code": code_of("training.pretrain"),
    }


def pretraining_fingerprint(params: Params, data: Sequence[Path]) -> str:
    """The name of all `pretraining_inputs`."""
    return fingerprint("pretrain", *pretraining_inputs(params, data).values())


def run_pretraining(
    settings: TrainSettings[PretrainParams],
    clips: Clips,
    out_dir: Path,
    checkpoint_dir: Path,
    tracker: Tracker,
    start: Path | None = None,
) -> dict[str, float]:
    """Pre-train, resuming where a killed run of the same fingerprint stopped.

    Args:
        settings: Seed, recipe, geometry of the model, and where it runs.
        clips: Clips to train on, of all datasets of `pretrain.dataset`, in their order; labels are not read.
        out_dir: Gets ``model.safetensors`` and ``history.csv``.
        checkpoint_dir: Named by `pretraining_fingerprint`; deleted at the end.
        tracker: Gets the metrics of steps and epochs.
        start: Pre-trained weights to go on from (`load_pretrained`); None starts from random ones.

    Returns:
        The last epoch's row (`total`, `video`, `audio`, `contrastive`, ...), with `samples_per_second` over
        all epochs, `num_clips`, `num_parameters`, and the `seconds` of this process.

    Raises:
        ValueError: If there are fewer clips than a batch holds, or a loss is not finite.
    """
    started = time.perf_counter()
    recipe, compute = settings.recipe, settings.compute
    device = distributed.training_device(compute.device)
    with distributed.process_group(device):
        model = untrained_model(settings)
        if start is not None:
            given = load_pretrained(start, settings.model.size).state_dict()
            load_weights(model, given, f"{start}: these pre-trained weights do not fit the model of params.yaml")
        model.to(device)
        if compute.activation_checkpointing:
            checkpoint_blocks(model)
        task = TrainTask(
            model,
            adamw(model, recipe.betas, recipe.weight_decay),
            PretrainingObjective(model, recipe),
            clips,
            make_inputs=partial(_inputs, settings, (model.video_grid, model.audio_grid)),
            sampling_weights=clips.weights(recipe.dataset_weights) if isinstance(clips, JoinedClips) else None,
        )
        store = CheckpointStore(checkpoint_dir, compute.num_checkpoints)
        learner = train(task, settings, device, store, tracker)
        weights = learner.weights()
        if distributed.rank() == 0:
            about = {
                "size": settings.model.size,
                "epochs": recipe.epochs,
                "dataset": "+".join(recipe.dataset),
                "recipe": recipe.model_dump(mode="json"),
                **clips.stride.metadata,
            }
            save_model(out_dir / "model.safetensors", model, about, weights)
            write_history(out_dir / "history.csv", learner.history)
            store.clear()
        distributed.wait_for_all()
    return summarise(learner, len(clips)) | {"seconds": time.perf_counter() - started}


def adapt(
    settings: TrainSettings[PretrainParams], epochs: int, clips: ClipDataset, start: Path | None, folder: Path
) -> Path:
    """Pre-train on a fold's training clips, before they are fine-tuned on.

    Args:
        settings: Those of pre-training.
        epochs: In place of the recipe's.
        clips: The fold's training clips, read for both modalities; their labels are not read.
        start: Pre-trained weights to go on from; None starts from random ones.
        folder: Of the fold's checkpoints, where the weights stay until the fold is done.

    Returns:
        The weights, with ``history.csv`` beside them; those that are there already, if an interrupted fold goes on.

    Raises:
        ValueError: As `run_pretraining`, or if `start` does not fit.
    """
    recipe = settings.recipe
    if len(clips) < recipe.batch_size:
        raise ValueError(
            f"finetune.adaptive_epochs: pretrain.batch_size {recipe.batch_size} is more than the fold's "
            f"{len(clips)} training clips; lower it"
        )
    path = folder / "adapted" / "model.safetensors"
    if not path.is_file():
        changed = {"epochs": epochs, "warmup_epochs": min(recipe.warmup_epochs, epochs - 1)}
        chosen = replace(settings, recipe=recipe.model_copy(update=changed))
        run_pretraining(chosen, clips, path.parent, folder / "adapting", NullTracker(), start)
    return path


def untrained_model(settings: TrainSettings[PretrainParams]) -> PretrainingModel:
    """The model with the weights from which pre-training starts."""
    seed_everything(settings.seed, "initial weights of pre-training")
    shape, recipe = settings.model, settings.recipe
    return pretraining_model(
        shape.size,
        image_size=shape.image_size,
        num_frames=shape.num_frames,
        num_audio_frames=shape.num_audio_frames,
        video_patch=shape.video_patch,
        audio_patch=shape.audio_patch,
        temperature=recipe.temperature,
        gather_negatives=recipe.gather_negatives,
        skips=recipe.skips,
    )


def _inputs(
    settings: TrainSettings[PretrainParams], grids: tuple[Grid, Grid], batch: Batch, step: int, part: int
) -> tuple[Tensor, ...]:
    """A micro-batch of this process, augmented, and its scores for the masks: what the objective takes.

    The scores are drawn for all clips of the step: masks do not depend on the number of processes or micro-batches.
    """
    recipe = settings.recipe
    generator = generator_for(settings.seed, "pre-training augmentation", step, distributed.rank(), part)
    frames, audio, device = batch.frames, batch.audio, batch.frames.device
    start = (distributed.rank() * recipe.accumulation_steps + part) * len(frames)
    video_scores, audio_scores = (
        scores[start : start + len(frames)] for scores in draw_scores(*grids, recipe.batch_size, settings.seed, step)
    )
    pairs: tuple[Tensor, ...] = ()
    if batch.modalities is not None:
        faces, voices, places = _present(batch.modalities)
        video_scores, audio_scores = video_scores[faces], audio_scores[voices]
        frames, audio, pairs = frames[faces.to(device)], audio[voices.to(device)], (places.to(device),)
    video = multi_scale_corner_crop(frames, recipe.crop_scales, settings.model.image_size, generator)
    audio = audio_gain(audio, generator) if recipe.audio_gain else audio
    video_scores, audio_scores = (scores.to(device, non_blocking=True) for scores in (video_scores, audio_scores))
    return video, video_scores, audio, audio_scores, *pairs


def _present(modalities: Sequence[Modality]) -> tuple[Tensor, Tensor, Tensor]:
    """Which clips have a face, which a voice, and where, among these, those are that have both, ``[2, P]``."""
    faces, voices = (
        torch.tensor([row for row, own in enumerate(modalities) if own in ("both", kind)], dtype=torch.int64)
        for kind in ("video", "audio")
    )
    both = torch.tensor([own == "both" for own in modalities])
    return faces, voices, torch.stack([both[rows].nonzero().flatten() for rows in (faces, voices)])


def draw_scores(video_grid: Grid, audio_grid: Grid, batch_size: int, *keys: Key) -> tuple[Tensor, Tensor]:
    """Uniform scores by which the objective masks: ``[B, spatial positions]``, ``[B, audio tokens]``, on the CPU.

    They follow from `keys`, and give the masks that `draw_masks` gives.
    """
    generator = generator_for("masks", *keys)
    video_scores = torch.rand(batch_size, math.prod(video_grid[1:]), generator=generator)
    return video_scores, torch.rand(batch_size, math.prod(audio_grid), generator=generator)


def draw_masks(
    settings: PretrainParams, video_grid: Grid, audio_grid: Grid, batch_size: int, *keys: Key
) -> tuple[Tensor, Tensor]:
    """Tube masks ``[B, video tokens]`` and random masks ``[B, audio tokens]`` that `keys` determine, on the CPU."""
    generator = generator_for("masks", *keys)
    num_time, num_space = video_grid[0], math.prod(video_grid[1:])
    video_mask = tube_mask(batch_size, num_time, num_space, settings.video_mask_ratio, generator, "cpu")
    audio_mask = random_mask(batch_size, math.prod(audio_grid), settings.audio_mask_ratio, generator, "cpu")
    return video_mask, audio_mask


def described(settings: TrainSettings[PretrainParams], summary: Mapping[str, float]) -> str:
    """What came of a pre-training, in Markdown, from what `run_pretraining` returns."""
    losses = [name for name in LOSSES if name in summary]
    names = " and ".join(f"`{name}`" for name in settings.recipe.dataset)
    return (
        f"Pre-training of a `{settings.model.size}` model of {summary['num_parameters']:,} parameters, without labels, "
        f"on {summary['num_clips']:,} clips of {names}: {summary['num_steps']:,} steps in "
        f"{settings.recipe.epochs} epochs; {summary['seconds']:,.0f} s in the process that ended it.\n\n"
        f"| last epoch | {' | '.join(losses)} |\n|---|{'---:|' * len(losses)}\n"
        f"| loss | {' | '.join(f'{summary[name]:.4f}' for name in losses)} |"
    )
