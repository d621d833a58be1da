"""Metrics on held-out training clips, by which an epoch is chosen. Draws nothing at random."""

from __future__ import annotations

import torch
from torch import Tensor

from hicmae_core.config import DatasetParams, FinetuneParams
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.batches import test_batches
from hicmae_core.data.clips import ClipDataset
from hicmae_core.model.classifier import Classifier
from hicmae_core.training.finetuning_losses import classification_loss, regression_loss, smooth_one_hot
from hicmae_core.training.learner import Row

NUM_SEGMENTS = 2
"""Temporal segments whose outputs are averaged, as at test time."""


@torch.no_grad()
def validate(
    model: Classifier, clips: ClipDataset, dataset: DatasetParams, settings: FinetuneParams, num_workers: int
) -> Row:
    """Measure a model on clips it is not trained on; it is left in eval mode.

    Returns:
        For classification `validation_loss`, `validation_uar` and `validation_war`, means over the targets, and
        `score`, which is the UAR; for regression `validation_loss`, which is `regression_loss` over all clips, and
        `score`, its negative.
    """
    model.eval()
    outputs, labels = [], []
    for batch in test_batches(clips, max(1, settings.batch_size // NUM_SEGMENTS), NUM_SEGMENTS, num_workers):
        assert batch.labels is not None
        outputs.append(_clip_outputs(model, batch.frames, batch.audio))
        labels.append(batch.labels)
    return scores(torch.cat(outputs), torch.cat(labels), dataset, settings)


def _clip_outputs(model: Classifier, frames: Tensor, audio: Tensor) -> Tensor:
    """Outputs ``[B, num_outputs]`` averaged over the segments of frames ``[B, segments, ...]``, on the CPU."""
    device = next(model.parameters()).device
    video = resize_only(frames.flatten(0, 1).to(device), model.architecture.image_size)
    outputs: Tensor = model(video, audio.flatten(0, 1).to(device))
    return outputs.unflatten(0, frames.shape[:2]).mean(1).cpu()


def scores(outputs: Tensor, labels: Tensor, dataset: DatasetParams, settings: FinetuneParams) -> Row:
    """`validate`'s metrics of outputs ``[N, num_outputs]`` and labels."""
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
    }
