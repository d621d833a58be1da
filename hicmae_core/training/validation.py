"""Metrics on held-out training clips, by which an epoch is chosen. Draws nothing at random."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hicmae_core.config import DatasetParams, FinetuneParams
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.batches import test_batches
from hicmae_core.data.clips import ClipDataset
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.segments import average_segments
from hicmae_core.model.temperature import fit_temperature
from hicmae_core.training import distributed
from hicmae_core.training.finetuning_losses import classification_loss, regression_loss, smooth_one_hot
from hicmae_core.training.learner import Row

NUM_SEGMENTS = 2
"""Temporal segments that are averaged, as at test time."""


@torch.no_grad()
def validate(
    model: Classifier, clips: ClipDataset, dataset: DatasetParams, settings: FinetuneParams, num_workers: int
) -> Row:
    """Measure a model on clips it is not trained on; it is left in eval mode.

    Processes that train together share the batches, and each gets what one process alone gets.

    Returns:
        For classification `validation_loss`, `validation_uar` and `validation_war`, means over the targets, `score`,
        which is the UAR, and temperatures (`temperature_names`); for regression `validation_loss`, which is
        `regression_loss` over all clips, and `score`, its negative.
    """
    model.eval()
    batch_size = max(1, settings.batch_size // NUM_SEGMENTS)
    indices, num_own = shared_out(len(clips), batch_size)
    assert clips.labels is not None
    own_clips = replace(
        clips, clip_ids=[clips.clip_ids[i] for i in indices], labels=clips.labels[indices], subjects=None
    )
    batches = test_batches(own_clips, batch_size, NUM_SEGMENTS, num_workers)
    own = torch.cat([_clip_outputs(model, batch.frames, batch.audio, len(dataset.classes)) for batch in batches])
    outputs = own.new_zeros(len(clips), dataset.num_outputs)
    outputs[indices[:num_own]] = own[:num_own]
    return scores(distributed.all_reduce_sum(outputs).cpu(), torch.tensor(clips.labels), dataset, settings)


def shared_out(num_clips: int, batch_size: int) -> tuple[list[int], int]:
    """Clips that this process reads, and how many of them, the first ones, are its own.

    The batches are those of one process, dealt out in turn. Every process reads equally many, because a sharded model
    needs all of them each time: where they run short, the last one is read once more.
    """
    places = range(num_clips)
    batches = [places[start : start + batch_size] for start in places[::batch_size]]
    own = batches[distributed.rank() :: distributed.world_size()]
    runs_short = len(own) < len(batches[:: distributed.world_size()])
    return [index for batch in own + batches[-1:] * runs_short for index in batch], sum(map(len, own))


def _clip_outputs(model: Classifier, frames: Tensor, audio: Tensor, num_classes: int) -> Tensor:
    """Outputs ``[B, num_outputs]`` for clips, from frames ``[B, segments, ...]`` (`average_segments`)."""
    device = next(model.parameters()).device
    video = resize_only(frames.flatten(0, 1).to(device), model.architecture.image_size)
    outputs: Tensor = model(video, audio.flatten(0, 1).to(device))
    return average_segments(outputs.unflatten(0, frames.shape[:2]), num_classes)


def scores(outputs: Tensor, labels: Tensor, dataset: DatasetParams, settings: FinetuneParams) -> Row:
    """`validate`'s metrics of labels and outputs for clips, ``[N, num_outputs]`` (`average_segments`).

    Loss and temperatures are those of the averaged probabilities, which are what is reported of a clip.
    """
    if dataset.task == "regression":
        loss = regression_loss(outputs, labels, settings.regression_loss).item()
        return {"validation_loss": loss, "score": -loss}
    by_target = labels.view(len(labels), -1)
    logits = outputs.view(*by_target.shape, -1)  # [N, targets, classes]
    right = (logits.argmax(dim=-1) == by_target).float()
    recalls = [
        torch.stack([hits[ids == label].mean() for label in ids.unique()]).mean()
        for hits, ids in zip(right.T, by_target.T, strict=True)
    ]
    uar = torch.stack(recalls).mean().item()
    return {
        "validation_loss": classification_loss(logits, smooth_one_hot(by_target, logits.shape[-1], 0.0)).item(),
        "validation_uar": uar,
        "validation_war": right.mean().item(),
        "score": uar,
        **{
            name: fit_temperature(logits[:, target].double().numpy(), by_target[:, target].numpy())
            for target, name in enumerate(temperature_names(dataset))
        },
    }


def temperature_names(dataset: DatasetParams) -> list[str]:
    """The temperature of each target's probabilities; of values there is none."""
    return [] if dataset.task == "regression" else [f"validation_temperature{suffix}" for suffix in dataset.suffixes]
