"""A clip of two segments on which averaged probabilities and averaged logits name different classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hicmae_core.inference.video import VideoReader, open_video_reader
from hicmae_core.model.artifact import save_model
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.sizes import classifier
from tests.media.films import picture, tone, write_film

LOGITS = torch.tensor([[3.0, 0.0, 0.0], [-6.0, 0.0, 0.5]])
"""Of three classes for each segment. Their mean is largest for the last class, that of their softmax for the first."""

PROBABILITIES = [0.455189, 0.211233, 0.333578]
"""The mean of their softmax, from the exponentials by hand."""


def logits_of(num_targets: int) -> Tensor:
    """``[2, 3 * num_targets]``: those of each target, its classes shifted by one from the target before."""
    return torch.cat([LOGITS.roll(target, dims=1) for target in range(num_targets)], dim=1)


def make_disagree(model: Classifier, features: Tensor, num_targets: int = 1) -> None:
    """Give a model the head that answers the features ``[2, F]`` of a clip's segments with `logits_of`."""
    weight = torch.linalg.pinv(features.double()) @ logits_of(num_targets).double()
    model.head.weight.data = weight.T.float()
    model.head.bias.data.zero_()


def write_changing_film(path: Path) -> Path:
    """Two seconds of a head that goes, with a tone that rises."""
    heads = [picture([(100 + 2.4 * frame, 120, 90)]) for frame in range(50)]
    return write_film(path, heads, np.concatenate([tone(1.0, hertz=200), tone(1.0, hertz=3000)]))


def save_disagreeing(folder: Path, film: Path, num_targets: int = 1, **metadata: Any) -> VideoReader:
    """Write ``model.safetensors``, which maps the first and the last window of a video with `logits_of`, and open it.

    One target, the classes a, b and c; two are called arousal and valence.
    """
    torch.manual_seed(0)
    model = classifier("demo", 3 * num_targets, image_size=32, num_frames=4, num_audio_frames=32)
    targets = ["arousal", "valence"] if num_targets == 2 else []
    faces = {"detector": "none", "size": 48}
    metadata |= {"classes": ["a", "b", "c"], "targets": targets, "frame_stride": 4, "faces": faces}
    path = folder / "model.safetensors"
    for _ in range(2):  # the head's features are known when a model is there
        save_model(path, model, metadata)
        reader = open_video_reader(path, None, 2, torch.device("cpu"))
        ((window_outputs,),) = reader.all_window_outputs([film], hop_seconds=0)
        make_disagree(model, window_outputs.features, num_targets)
    return reader
