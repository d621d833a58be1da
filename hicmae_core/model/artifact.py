"""Models as single files: weights, architecture and notes in one ``.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hicmae_core.files import atomic_path
from hicmae_core.model.architecture import ClassifierArchitecture, PretrainingArchitecture
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.weights import load_weights

_HEADER_KEY = "hicmae"
"""One header entry that holds all: several would be written in random order."""


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
        temporary.write_bytes(save(tensors, {_HEADER_KEY: json.dumps(header)}))


def load_model(path: Path) -> tuple[PretrainingModel | Classifier, dict[str, Any]]:
    """Read a model that `save_model` wrote.

    Returns:
        The model, on the CPU in eval mode, and its metadata.

    Raises:
        ValueError: If there is no such file, it is not a model of this project, or naming every weight that is
            missing, unexpected or mis-shaped.
    """
    with _opened(path) as (file, header):
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    model = _built(header["kind"], header["architecture"])
    load_weights(model, weights, f"{path}: the weights do not fit the architecture in the file")
    return model.eval(), header["metadata"]


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_model` was told of a model, without its weights.

    Raises:
        ValueError: If there is no such file, or it is not a model of this project.
    """
    with _opened(path) as (_, header):
        metadata: dict[str, Any] = header["metadata"]
        return metadata


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """As `load_model`, for a classifier.

    Raises:
        ValueError: Also if the file holds a pre-training model.
    """
    model, metadata = load_model(path)
    if not isinstance(model, Classifier):
        raise ValueError(f"{path}: holds a pre-training model, but a classifier is wanted")
    return model, metadata


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    if not path.is_file():
        raise ValueError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER_KEY, "null"))
            if header is None:
                raise ValueError(f"{path}: a .safetensors file, but not one that this project wrote")
            yield file, header
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable .safetensors file: {error}") from error


def _built(kind: str, values: dict[str, Any]) -> PretrainingModel | Classifier:
    if kind == "pretraining":
        return PretrainingModel(PretrainingArchitecture(**(values | {"levels": tuple(values["levels"])})))
    return Classifier(ClassifierArchitecture(**values))
