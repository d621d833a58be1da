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
from hicmae_core.model.probabilities import abstention_levels, average_segments, fit_temperature
from hicmae_core.store.manifest import Units
from hicmae_core.training import distributed
from hicmae_core.training.learner import Row
from hicmae_core.training.losses import classification_loss, regression_loss, smooth_one_hot

NUM_SEGMENTS = 2
"""Temporal segments that are averaged, as at test time."""


@torch.no_grad()
def validate(
    model: Classifier, clips: ClipDataset, dataset: DatasetParams, settings: FinetuneParams, num_workers: int
) -> Row:
    """Measure a model on clips it is not trained on; it is left in eval mode.

    Processes that train together share the batches, and each gets what one process alone gets.

    Returns:
        What `scores` finds of the clips, scored by unit as they are when tested.
    """
    model.eval()
    batch_size = _batch_size(settings)
    indices = own_share(len(clips), batch_size)
    assert clips.labels is not None
    outputs = torch.zeros(len(clips), dataset.num_outputs, device=model.head.weight.device)
    if indices:
        own_clips = replace(
            clips,
            clip_ids=[clips.clip_ids[i] for i in indices],
            labels=clips.labels[indices],
            subjects=None,
            units=None,
            groups=None,
        )
        batches = test_batches(own_clips, batch_size, NUM_SEGMENTS, num_workers)
        found = [_clip_outputs(model, batch.frames, batch.audio, len(dataset.classes)) for batch in batches]
        outputs[indices] = torch.cat(found)
    outputs = distributed.all_reduce_sum(outputs).cpu()
    return scores(outputs, torch.tensor(clips.labels), dataset, settings, Units(clips.units or clips.clip_ids))


@torch.no_grad()
def held_out_levels(
    model: Classifier,
    clips: ClipDataset,
    dataset: DatasetParams,
    settings: FinetuneParams,
    temperature: float,
    num_workers: int,
) -> list[list[float]]:
    """The `abstention_levels` of a classifier's calibrated probabilities of clips it is not trained on.

    This process reads all clips.
    """
    model.eval()
    batches = test_batches(clips, _batch_size(settings), NUM_SEGMENTS, num_workers)
    outputs = torch.cat([_clip_outputs(model, batch.frames, batch.audio, len(dataset.classes)) for batch in batches])
    sureness, predictions = (outputs.double().cpu() / temperature).softmax(dim=-1).max(dim=-1)
    return abstention_levels(sureness.numpy(), (predictions == torch.tensor(clips.labels)).numpy())


def _batch_size(settings: FinetuneParams) -> int:
    return max(1, settings.batch_size // NUM_SEGMENTS)


def own_share(num_clips: int, batch_size: int) -> list[int]:
    """Clips that this process reads: the batches are those of one process, dealt out in turn."""
    indices = range(num_clips)
    batches = [indices[start : start + batch_size] for start in indices[::batch_size]]
    return [index for batch in batches[distributed.rank() :: distributed.world_size()] for index in batch]


def _clip_outputs(model: Classifier, frames: Tensor, audio: Tensor, num_classes: int) -> Tensor:
    """Outputs ``[B, num_outputs]`` for clips, from frames ``[B, segments, ...]`` (`average_segments`)."""
    device = next(model.parameters()).device
    video = resize_only(frames.flatten(0, 1).to(device), model.architecture.image_size)
    outputs: Tensor = model(video, audio.flatten(0, 1).to(device))
    return average_segments(outputs.unflatten(0, frames.shape[:2]), num_classes)


def scores(
    outputs: Tensor, labels: Tensor, dataset: DatasetParams, settings: FinetuneParams, units: Units | None = None
) -> Row:
    """Metrics of labels and outputs for clips, ``[N, num_outputs]`` (`average_segments`), counted by unit.

    Args:
        outputs: Logs of the clips' probabilities, or a regression's outputs.
        labels: Class ids or values of the clips.
        dataset: What is predicted.
        settings: The loss of a regression.
        units: What the clips are scored with; None scores each by itself.

    Returns:
        For classification `validation_loss`, `validation_uar` and `validation_war`, means over the targets, `score`,
        which is the UAR, and temperatures (`temperature_names`), which are fitted on the clips, because a model in
        use predicts clips; for regression `validation_loss`, which is `regression_loss` over all units, and `score`,
        its negative.
    """
    units = units or Units(range(len(labels)))
    if dataset.task == "regression":
        means = torch.from_numpy(units.mean(outputs.numpy())).to(outputs.dtype)
        loss = regression_loss(means, labels[units.first], settings.regression_loss).item()
        return {"validation_loss": loss, "score": -loss}
    of_clips = labels.view(len(labels), -1)
    clip_logits = outputs.view(*of_clips.shape, -1)  # [N, targets, classes]
    by_target, logits = of_clips[units.first], _unit_logits(clip_logits, units)
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
            name: fit_temperature(clip_logits[:, target].double().numpy(), of_clips[:, target].numpy())
            for target, name in enumerate(temperature_names(dataset))
        },
    }


def _unit_logits(logits: Tensor, units: Units) -> Tensor:
    """Logs of the mean probabilities of each unit's clips ``[num_units, targets, classes]``; of clips, their logits."""
    if units.are_clips:
        return logits
    means = units.mean(logits.double().softmax(dim=-1).numpy())
    return torch.from_numpy(means).clamp_min(torch.finfo(torch.float64).tiny).log().to(logits.dtype)


def temperature_names(dataset: DatasetParams) -> list[str]:
    """The temperature of each target's probabilities; of values there is none."""
    return [] if dataset.task == "regression" else [f"validation_temperature{suffix}" for suffix in dataset.suffixes]
