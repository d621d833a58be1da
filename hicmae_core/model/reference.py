"""Models from the authors' checkpoints and configurations, and back."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hicmae_core.model.architecture import ClassifierArchitecture, PretrainingArchitecture
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.sizes import SIZES, classifier, pretraining_model
from hicmae_core.model.weights import load_weights

_PRETRAINING_FIELDS = {
    "img_size": "image_size",
    "encoder_embed_dim": "video_dim",
    "encoder_depth": "video_depth",
    "encoder_num_heads": "video_num_heads",
    "decoder_embed_dim": "video_decoder_dim",
    "decoder_depth": "video_decoder_depth",
    "decoder_num_heads": "video_decoder_num_heads",
    "encoder_embed_dim_audio": "audio_dim",
    "encoder_depth_audio": "audio_depth",
    "encoder_num_heads_audio": "audio_num_heads",
    "decoder_embed_dim_audio": "audio_decoder_dim",
    "decoder_depth_audio": "audio_decoder_depth",
    "decoder_num_heads_audio": "audio_decoder_num_heads",
    "encoder_fusion_depth": "fusion_depth",
    "encoder_fusion_num_heads": "fusion_num_heads",
}
_CLASSIFIER_FIELDS = {
    "img_size": "image_size",
    "num_classes": "num_outputs",
    "embed_dim": "video_dim",
    "depth": "video_depth",
    "num_heads": "video_num_heads",
    "embed_dim_audio": "audio_dim",
    "depth_audio": "audio_depth",
    "num_heads_audio": "audio_num_heads",
    "fusion_depth": "fusion_depth",
    "fusion_num_heads": "fusion_num_heads",
}
_PATCH_VALUES = {"decoder_num_classes": 1536, "decoder_num_classes_audio": 256}


def pretraining_from_reference(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> PretrainingModel:
    """Build the authors' pre-training model, in eval mode.

    Args:
        state_dict: Weights under the authors' key names.
        config: The authors' constructor arguments, as in ``golden/pretrain.json``;
            `inter_contrastive_temperature` may be left out (0.07).

    Raises:
        ValueError: Naming every configuration key that is missing, unknown or cannot be built, or every
            weight that is missing, unexpected or mis-shaped.
    """
    also = {"img_size_audio", "return_intermediate_features", *_PATCH_VALUES}
    _check_keys(config, {*_PRETRAINING_FIELDS, *also}, {"inter_contrastive_temperature"})
    for key, expected in _PATCH_VALUES.items():
        if config[key] != expected:
            raise ValueError(f"config key {key} is {config[key]}, but a patch holds {expected} values")
    architecture = PretrainingArchitecture(
        **_renamed(config, _PRETRAINING_FIELDS),
        levels=tuple(sorted(config["return_intermediate_features"])),
        temperature=config.get("inter_contrastive_temperature", 0.07),
    )
    model = PretrainingModel(architecture)
    load_weights(model, state_dict, "the weights do not fit the configuration")
    return model.eval()


def classifier_from_reference(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> Classifier:
    """Build the authors' fine-tuned model, in eval mode.

    Args:
        state_dict: Weights under the authors' key names.
        config: The authors' constructor arguments, as in ``golden/finetune.json``; `head_activation_func`
            (sigmoid, relu, tanh or None) may be left out.

    Raises:
        ValueError: As `pretraining_from_reference`.
    """
    _check_keys(config, {*_CLASSIFIER_FIELDS, "img_size_audio"}, {"head_activation_func"})
    architecture = ClassifierArchitecture(
        **_renamed(config, _CLASSIFIER_FIELDS),
        output_activation=config.get("head_activation_func") or "none",
    )
    model = Classifier(architecture)
    load_weights(model, state_dict, "the weights do not fit the configuration")
    return model.eval()


def to_reference_state_dict(model: PretrainingModel | Classifier) -> dict[str, Tensor]:
    """A copy of a model's weights under the authors' key names, which are the model's own."""
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def load_reference_checkpoint(path: Path | str, **overrides: Any) -> PretrainingModel | Classifier:
    """Read a published ``.pth`` file; size and head are found from its weights.

    Args:
        path: A file that holds the weights under `model` or `module`, whatever else it holds beside them.
        **overrides: Architecture fields that weights do not show, such as `output_activation`.

    Returns:
        The pre-training model or the classifier, in eval mode.

    Raises:
        ValueError: If the file cannot be read as weights, its size is none of the published ones, or naming
            every weight that is missing, unexpected or mis-shaped.
    """
    state_dict = _read_state_dict(Path(path))
    embedding = state_dict.get("encoder.patch_embed.proj.weight")
    if not isinstance(embedding, Tensor):
        raise ValueError(f"{path}: missing encoder.patch_embed.proj.weight, so these are not the weights of HiCMAE")
    sizes = [name for name, size in SIZES.items() if size.dim == len(embedding)]
    if not sizes:
        known = ", ".join(f"{name} {size.dim}" for name, size in SIZES.items())
        raise ValueError(f"{path}: encoder width {len(embedding)} is that of no model size ({known})")
    model: PretrainingModel | Classifier
    if "head.weight" in state_dict:
        model = classifier(sizes[0], len(state_dict["head.weight"]), **overrides)
    else:
        model = pretraining_model(sizes[0], **overrides)
    load_weights(model, state_dict, f"{path}: these weights do not fit the {sizes[0]} {type(model).__name__}")
    return model.eval()


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    if path.suffix == ".safetensors":  # which torch would read as such
        raise ValueError(f"{path}: a .safetensors file is no checkpoint of the authors; theirs end in .pth")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: not a readable weights file: it is not what torch.save has written since torch 1.6, or cut short"
        )
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: not a readable weights file: {error}") from error
    names = [key for key in ("model", "module") if isinstance(content, Mapping) and key in content]
    if not names:
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{path}: expected weights under the key `model` or `module`, found {found}")
    return dict(content[names[0]])


def _check_keys(config: Mapping[str, Any], required: set[str], optional: set[str]) -> None:
    problems = [f"missing {key}" for key in sorted(required - set(config))]
    problems += [f"unknown {key}" for key in sorted(set(config) - required - optional)]
    if problems:
        raise ValueError("this reference configuration cannot be represented: " + ", ".join(problems))


def _renamed(config: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The configuration's values by architecture field, the audio size's two included."""
    num_audio_frames, num_mel_bins = config["img_size_audio"]
    values = {field: config[key] for key, field in fields.items()}
    return values | {"num_audio_frames": num_audio_frames, "num_mel_bins": num_mel_bins}
