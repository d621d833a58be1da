"""Pre-trained weights for fine-tuning, of this project or as published."""

from __future__ import annotations

from pathlib import Path

from hicmae_core.model.architecture import Architecture
from hicmae_core.model.artifact import load_model
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.sizes import SIZES


def load_pretrained(path: Path, size: str) -> PretrainingModel:
    """Read a pre-trained model that a model of `size` can start from.

    Args:
        path: A model of pre-training, of this project or published, as `load_model` reads it.
        size: The wanted size, a key of `SIZES`.

    Raises:
        ValueError: If the file is unreadable, holds a classifier, or a model of another size.
    """
    model, _ = load_model(path)
    if not isinstance(model, PretrainingModel):
        raise ValueError(
            f"{path} holds a classifier; fine-tuning starts from a pre-training model: set finetune.checkpoint to one"
        )
    found = size_of(model.architecture)
    if found != size:
        raise ValueError(
            f"{path} holds a model of size {found}, but model.size is {size}; set model.size to {found}, or "
            f"finetune.checkpoint to pre-trained weights of size {size}, or finetune.init to scratch"
        )
    return model


def size_of(architecture: Architecture) -> str:
    """The name of an architecture's size, or its widths and depths if it has none."""
    a = architecture
    for name, size in SIZES.items():
        if (a.video_dim, a.audio_dim, a.video_depth, a.audio_depth, a.fusion_depth) == (
            size.dim, size.dim, size.depth, size.depth, size.fusion_depth,
        ):  # fmt: skip
            return name
    return f"none known (widths {a.video_dim} and {a.audio_dim}, depths {a.video_depth} and {a.audio_depth})"
