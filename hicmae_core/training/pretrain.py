"""Pre-training of HiCMAE on clips without labels (paper section 3.2 to 3.4)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from hicmae_core.config import Params, PretrainParams
from hicmae_core.data.augmentation import audio_gain, multi_scale_corner_crop
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.files import fingerprint
from hicmae_core.model.artifact import save_model
from hicmae_core.model.masking import random_mask, tube_mask
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.training import distributed
from hicmae_core.training.checkpoint import TRAINING_CODE, CheckpointStore
from hicmae_core.training.loop import Run, Task, summarise, train, write_history
from hicmae_core.training.losses import pretraining_loss
from hicmae_core.training.optim import parameter_groups
from hicmae_core.training.seeding import Key, generator_for, seed_everything
from hicmae_core.training.tracker import Tracker


def pretraining_fingerprint(params: Params, data: Sequence[Path]) -> str:
    """The name of everything that determines a pre-training's result.

    Args:
        params: All parameters; those of this training count.
        data: Small files that follow the data: the manifest and the stores' indices.
    """
    return fingerprint("pretrain", params.seed, params.faces, params.model, params.pretrain, data, TRAINING_CODE)


def run_pretraining(
    params: Params, clips: ClipDataset, out_dir: Path, checkpoint_dir: Path, tracker: Tracker
) -> dict[str, float]:
    """Pre-train, resuming where a killed run of the same fingerprint stopped.

    Args:
        params: All parameters; `seed`, `compute`, `model` and `pretrain` count.
        clips: Clips to train on; labels are not looked at.
        out_dir: Gets ``model.safetensors`` and ``history.csv``.
        checkpoint_dir: Named by `pretraining_fingerprint`; deleted at the end.
        tracker: Told of every step and epoch.

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
        seed_everything(params.seed, "initial weights of pre-training")
        model = pretraining_model(
            params.model.size,
            image_size=params.model.image_size,
            num_frames=params.model.num_frames,
            num_audio_frames=params.model.num_audio_frames,
            temperature=settings.temperature,
            skips=settings.skips,
        ).to(device)
        task = Task(
            model=model,
            groups=parameter_groups(model, settings.weight_decay),
            clips=clips,
            losses_of=partial(_losses, params, model.video_grid, model.audio_grid),
        )
        run = Run(params.seed, device, params.compute, CheckpointStore(checkpoint_dir), tracker)
        learner = train(task, settings, run)
        if distributed.rank() == 0:
            save_model(out_dir / "model.safetensors", model, {"size": params.model.size, "epochs": settings.epochs})
            write_history(out_dir / "history.csv", learner.history)
            run.checkpoints.clear()
        distributed.wait_for_all()
    return summarise(learner, len(clips)) | {"seconds": time.perf_counter() - started}


def _losses(
    params: Params, video_grid: tuple[int, ...], audio_grid: tuple[int, ...], model: nn.Module, batch: Batch, step: int
) -> dict[str, Tensor]:
    """Augment and mask a batch, reconstruct it and compare."""
    settings = params.pretrain
    device = next(model.parameters()).device
    generator = generator_for(params.seed, "pre-training augmentation", step, distributed.rank())
    frames = batch.frames.to(device, non_blocking=True)
    video = multi_scale_corner_crop(frames, settings.crop_scales, params.model.image_size, generator)
    audio = batch.audio.to(device, non_blocking=True)
    if settings.audio_gain:
        audio = audio_gain(audio, generator)
    masks = draw_masks(settings, video_grid, audio_grid, len(video) * distributed.world_size(), params.seed, step)
    video_mask, audio_mask = (mask[distributed.share(len(video))].to(device) for mask in masks)
    out = model(video, video_mask, audio, audio_mask)
    return pretraining_loss(
        out, video, video_mask, audio, audio_mask, settings.contrastive_weight, settings.frame_difference
    )


def draw_masks(
    settings: PretrainParams,
    video_grid: tuple[int, ...],
    audio_grid: tuple[int, ...],
    batch_size: int,
    *keys: Key,
) -> tuple[Tensor, Tensor]:
    """Tube masks ``[B, video tokens]`` and random masks ``[B, audio tokens]`` that `keys` determine, on the CPU."""
    generator = generator_for("masks", *keys)
    num_time, num_space = video_grid[0], math.prod(video_grid[1:])
    video_mask = tube_mask(batch_size, num_time, num_space, settings.video_mask_ratio, generator, "cpu")
    audio_mask = random_mask(batch_size, math.prod(audio_grid), settings.audio_mask_ratio, generator, "cpu")
    return video_mask, audio_mask
