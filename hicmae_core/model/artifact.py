"""Models as single files: weights, architecture and notes in one ``.safetensors``; published ones are read, too,
and pre-trained ones of either kind for fine-tuning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from hicmae_core.files import atomic_path
from hicmae_core.model.architecture import Architecture, ClassifierArchitecture, PretrainingArchitecture
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.reference import load_reference_checkpoint
from hicmae_core.model.sizes import SIZES
from hicmae_core.model.weights_file import HEADER_KEY, load_weights, own_header


def save_model(
    path: Path,
    model: PretrainingModel | Classifier,
    metadata: dict[str, Any],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model, whole or not at all; equal models give equal bytes.

    Args:
        path: Target, ``*.safetensors``.
        model: The model; its training mode and device are not kept.
        metadata: What JSON can hold, given back by `load_model`.
        weights: Saved in place of the model's own, such as their average.
    """
    header = {
        "kind": "pretraining" if isinstance(model, PretrainingModel) else "classifier",
        "architecture": asdict(model.architecture),
        "metadata": metadata,
    }
    weights = model.state_dict() if weights is None else weights
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, {HEADER_KEY: json.dumps(header)}))


def load_model(path: Path) -> tuple[PretrainingModel | Classifier, dict[str, Any]]:
    """Read a model that `save_model` wrote, or a published checkpoint; its content says which.

    Returns:
        The model, on the CPU in eval mode, and its metadata; those of a checkpoint as `reference_metadata` gives them.

    Raises:
        ValueError: In one sentence, if there is no such file, it holds neither, or naming the first weights that are
            missing, unexpected or mis-shaped.
    """
    header = own_header(path)
    if header is None:
        model = load_reference_checkpoint(path)
        return model, reference_metadata(path, model)
    model = _built(header["kind"], header["architecture"])
    load_weights(model, load_file(path), f"{path}: the weights do not fit the architecture in the file")
    return model.eval(), header["metadata"]


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_model` was given of a model, without its weights.

    Raises:
        ValueError: If there is no such file, or it is not a model of this project.
    """
    header = own_header(path)
    if header is None:
        raise ValueError(f"{path}: {'not a model that this project wrote' if path.is_file() else 'no such file'}")
    metadata: dict[str, Any] = header["metadata"]
    return metadata


def reference_metadata(path: Path, model: PretrainingModel | Classifier) -> dict[str, Any]:
    """What is known of a published checkpoint: its size and file, and numbers in place of its classes' names."""
    width = model.architecture.video_dim
    metadata = {"size": next(name for name, size in SIZES.items() if size.dim == width), "source": path.name}
    if not isinstance(model, Classifier):
        return metadata
    return metadata | {"classes": [f"class {i}" for i in range(model.architecture.num_outputs)], "targets": []}


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """As `load_model`, for a classifier.

    Raises:
        ValueError: Also if the file holds a pre-training model.
    """
    model, metadata = load_model(path)
    if not isinstance(model, Classifier):
        raise ValueError(f"{path}: holds a pre-training model, but a classifier is wanted")
    return model, metadata


def _built(kind: str, values: dict[str, Any]) -> PretrainingModel | Classifier:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if kind == "pretraining":
        return PretrainingModel(PretrainingArchitecture(**values))
    return Classifier(ClassifierArchitecture(**values))


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
