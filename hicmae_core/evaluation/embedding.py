"""A model's features of clips, laid out in the plane."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.batches import test_batches
from hicmae_core.data.clips import ClipDataset
from hicmae_core.model.classifier import Classifier

_BATCH_SIZE = 16
_PERPLEXITY = 30


@torch.no_grad()
def features_of(model: Classifier, clips: ClipDataset) -> NDArray[np.float32]:
    """What the head of a classifier in eval mode sees of the middles of clips, ``[num_clips, width]``."""
    device = model.head.weight.device
    features = []
    for batch in test_batches(clips, _BATCH_SIZE, num_segments=1, num_workers=0):
        video = resize_only(batch.frames.flatten(0, 1).to(device), model.architecture.image_size)
        features.append(model.features(video, batch.audio.flatten(0, 1).to(device)).float().cpu())
    return torch.cat(features).numpy()


def lay_out(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """t-SNE of features ``[num_clips, width]``, the same each time: ``[num_clips, 2]``.

    Raises:
        ValueError: With fewer than four clips.
    """
    if len(features) < 4:
        raise ValueError(f"a layout needs at least 4 clips, not {len(features)}")
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    result: NDArray[np.float64] = (
        TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features).astype(np.float64)
    )
    return result
