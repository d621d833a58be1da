"""Metrics on held-out training clips, by which an epoch is chosen. Draws nothing at random."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hicmae_core.config import Task
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.clips import ClipDataset, test_batches
from hicmae_core.model.classifier import Classifier
from hicmae_core.training.learner import Row

NUM_SEGMENTS = 2
"""Temporal segments whose outputs are averaged, as at test time."""


@torch.no_grad()
def validate(model: Classifier, clips: ClipDataset, task: Task, batch_size: int, num_workers: int) -> Row:
    """Measure a model on clips it is not trained on; it is left in eval mode.

    Returns:
        For classification `validation_loss`, `validation_uar` and `validation_war`, and `score`, which is the
        UAR; for regression `validation_loss`, the mean squared error, and `score`, its negative.
    """
    model.eval()
    outputs, labels = [], []
    for batch in test_batches(clips, max(1, batch_size // NUM_SEGMENTS), NUM_SEGMENTS, num_workers):
        assert batch.labels is not None
        outputs.append(_clip_outputs(model, batch.frames, batch.audio))
        labels.append(batch.labels)
    return scores(torch.cat(outputs), torch.cat(labels), task)


def _clip_outputs(model: Classifier, frames: Tensor, audio: Tensor) -> Tensor:
    """Outputs ``[B, num_outputs]`` averaged over the segments of frames ``[B, segments, ...]``, on the CPU."""
    device = next(model.parameters()).device
    video = resize_only(frames.flatten(0, 1).to(device), model.architecture.image_size)
    outputs: Tensor = model(video, audio.flatten(0, 1).to(device))
    return outputs.unflatten(0, frames.shape[:2]).mean(1).cpu()


def scores(outputs: Tensor, labels: Tensor, task: Task) -> Row:
    """`validate`'s metrics of outputs ``[N, num_outputs]`` and labels."""
    if task == "regression":
        loss = F.mse_loss(outputs, labels).item()
        return {"validation_loss": loss, "score": -loss}
    right = (outputs.argmax(1) == labels).float()
    recalls = [right[labels == label].mean() for label in labels.unique()]
    uar = torch.stack(recalls).mean().item()
    return {
        "validation_loss": F.cross_entropy(outputs, labels).item(),
        "validation_uar": uar,
        "validation_war": right.mean().item(),
        "score": uar,
    }
