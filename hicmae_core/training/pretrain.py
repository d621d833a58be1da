"""Pre-training of HiCMAE on clips without labels (paper section 3.2 to 3.4)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
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
from hicmae_core.training.loop import Run, Task, train
from hicmae_core.training.objectives import PretrainingObjective
from hicmae_core.training.randomness import Key, generator_for, seed_everything
from hicmae_core.training.tracker import NullTracker, Tracker, summarise, write_history

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
    params: Params, clips: Clips, out_dir: Path, checkpoint_dir: Path, tracker: Tracker, start: Path | None = None
) -> dict[str, float]:
    """Pre-train, resuming where a killed run of the same fingerprint stopped.

    Args:
        params: All parameters; `seed`, `compute`, `model` and `pretrain` count.
        clips: Clips to train on, of all datasets of `pretrain.dataset`, in their order; labels are not looked at.
        out_dir: Gets ``model.safetensors`` and ``history.csv``.
        checkpoint_dir: Named by `pretraining_fingerprint`; deleted at the end.
        tracker: Told of every step and epoch.
        start: Pre-trained weights to go on from (`load_pretrained`); None starts from random ones.

    Returns:
        The last epoch's row (`total`, `video`, `audio`, `contrastive`, ...), with `samples_per_second` over
        all epochs, `num_clips`, `num_parameters`, and the `seconds` of this process.

    Raises:
        ValueError: If there are fewer clips than a batch holds, or a loss is not finite.
    """
    started = time.perf_counter()
    settings = params.pretrain
    device = distributed.training_device(params.compute.device)
    with distributed.process_group(device):
        model = untrained_model(params)
        if start is not None:
            given = load_pretrained(start, params.model.size).state_dict()
            load_weights(model, given, f"{start}: these pre-trained weights do not fit the model of params.yaml")
        model.to(device)
        if params.compute.activation_checkpointing:
            checkpoint_blocks(model)
        inputs_of = partial(_inputs, params, (model.video_grid, model.audio_grid))
        by_clip = clips.weights(settings.dataset_weights) if isinstance(clips, JoinedClips) else None
        task = Task(model, PretrainingObjective(model, settings), clips, inputs_of, sampling_weights=by_clip)
        store = CheckpointStore(checkpoint_dir, params.compute.num_checkpoints)
        learner = train(task, settings, Run(params.seed, device, params.compute, store, tracker))
        weights = learner.weights()
        if distributed.rank() == 0:
            about = {
                "size": params.model.size,
                "epochs": settings.epochs,
                "dataset": "+".join(settings.dataset),
                "recipe": settings.model_dump(mode="json"),
                **clips.stride.metadata,
            }
            save_model(out_dir / "model.safetensors", model, about, weights)
            write_history(out_dir / "history.csv", learner.history)
            store.clear()
        distributed.wait_for_all()
    return summarise(learner, len(clips)) | {"seconds": time.perf_counter() - started}


def adapt(params: Params, clips: ClipDataset, start: Path | None, folder: Path) -> Path:
    """Pre-train for `finetune.adaptive_epochs` on a fold's training clips, before they are fine-tuned on.

    Args:
        params: All parameters; those of pre-training count, but for its epochs.
        clips: The fold's training clips, read for both modalities; their labels are not looked at.
        start: Pre-trained weights to go on from; None starts from random ones.
        folder: Of the fold's checkpoints, where the weights stay until the fold is done.

    Returns:
        The weights, with ``history.csv`` beside them; those that are there already, if an interrupted fold goes on.

    Raises:
        ValueError: As `run_pretraining`, or if `start` does not fit.
    """
    if len(clips) < params.pretrain.batch_size:
        raise ValueError(
            f"finetune.adaptive_epochs: pretrain.batch_size {params.pretrain.batch_size} is more than the fold's "
            f"{len(clips)} training clips; lower it"
        )
    path = folder / "adapted" / "model.safetensors"
    if not path.is_file():
        epochs = params.finetune.adaptive_epochs
        changed = {"epochs": epochs, "warmup_epochs": min(params.pretrain.warmup_epochs, epochs - 1)}
        chosen = params.model_copy(update={"pretrain": params.pretrain.model_copy(update=changed)})
        run_pretraining(chosen, clips, path.parent, folder / "adapting", NullTracker(), start)
    return path


def untrained_model(params: Params) -> PretrainingModel:
    """The model with the weights from which pre-training starts."""
    seed_everything(params.seed, "initial weights of pre-training")
    return pretraining_model(
        params.model.size,
        image_size=params.model.image_size,
        num_frames=params.model.num_frames,
        num_audio_frames=params.model.num_audio_frames,
        video_patch=params.model.video_patch,
        audio_patch=params.model.audio_patch,
        temperature=params.pretrain.temperature,
        gather_negatives=params.pretrain.gather_negatives,
        skips=params.pretrain.skips,
    )


def _inputs(params: Params, grids: tuple[Grid, Grid], batch: Batch, step: int, part: int) -> tuple[Tensor, ...]:
    """A part of this process's batch, augmented, and its scores for the masks: what the objective takes.

    The scores are drawn for all clips of the step, so that masks do not depend on the number of processes or parts.
    """
    settings = params.pretrain
    generator = generator_for(params.seed, "pre-training augmentation", step, distributed.rank(), part)
    frames, audio, device = batch.frames, batch.audio, batch.frames.device
    start = (distributed.rank() * settings.accumulation_steps + part) * len(frames)
    video_scores, audio_scores = (
        scores[start : start + len(frames)] for scores in draw_scores(*grids, settings.batch_size, params.seed, step)
    )
    pairs: tuple[Tensor, ...] = ()
    if batch.modalities is not None:
        faces, voices, places = _present(batch.modalities)
        video_scores, audio_scores = video_scores[faces], audio_scores[voices]
        frames, audio, pairs = frames[faces.to(device)], audio[voices.to(device)], (places.to(device),)
    video = multi_scale_corner_crop(frames, settings.crop_scales, params.model.image_size, generator)
    audio = audio_gain(audio, generator) if settings.audio_gain else audio
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
