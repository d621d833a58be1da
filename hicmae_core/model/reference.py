"""Models from the authors' checkpoints and configurations, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hicmae_core.config import AUDIO_PATCH, VIDEO_PATCH
from hicmae_core.model.architecture import ClassifierArchitecture, PretrainingArchitecture
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.sizes import SIZES, classifier, pretraining_model
from hicmae_core.model.weights_file import load_weights, read_weights, some
from hicmae_core.progress import log_line

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
_VIDEO, _AUDIO = "encoder.patch_embed.proj.weight", "encoder_audio.patch_embed.proj.weight"
_PATCH_VALUES = {"decoder_num_classes": 1536, "decoder_num_classes_audio": 256}


def pretraining_from_reference(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> PretrainingModel:
    """Build the authors' pre-training model, in eval mode.

    Args:
        state_dict: Weights under the authors' key names.
        config: The authors' constructor arguments, as in ``golden/pretrain.json``;
            `inter_contrastive_temperature` may be left out (0.07).

    Raises:
        ValueError: Naming every configuration key that is missing, unknown or cannot be built, or every
            weight that is missing, unexpected, mis-shaped or not finite.
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
    load_weights(model, state_dict, "the weights do not fit the configuration", None)
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
    load_weights(model, state_dict, "the weights do not fit the configuration", None)
    return model.eval()


def to_reference_state_dict(model: PretrainingModel | Classifier) -> dict[str, Tensor]:
    """A copy of a model's weights under the authors' key names, which are the model's own.

    Raises:
        ValueError: If the model's patches, or what its head reads, are not those of the authors' program.
    """
    a = model.architecture
    if (a.video_patch, a.audio_patch) != (VIDEO_PATCH, AUDIO_PATCH):
        raise ValueError(
            f"the model has patches of {a.video_patch} and {a.audio_patch}; the authors' program reads those of "
            f"{VIDEO_PATCH} and {AUDIO_PATCH} alone; share the model in another format"
        )
    if getattr(a, "pooling", "mean") != "mean":
        raise ValueError(
            "the head reads statistics of the tokens, which the authors' program has not; share the model in another "
            "format"
        )
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def load_reference_checkpoint(path: Path | str, **overrides: Any) -> PretrainingModel | Classifier:
    """Read a published checkpoint, or one in its names; size and head are found from its weights.

    Args:
        path: A file of torch.save or safetensors that `read_weights` reads, whatever it holds beside the weights.
        **overrides: Architecture fields that weights do not show, such as `output_activation`.

    Returns:
        The pre-training model or the classifier, in eval mode and single precision.

    Raises:
        ValueError: In one sentence, if the file holds no weights, those of another model, its size is none of the
            published ones, or naming the first weights that are missing, unexpected, mis-shaped or not finite.
    """
    path = Path(path)
    state_dict = _model_of(path, read_weights(path))
    _check_kind(path, state_dict)
    width = _num_rows(path, state_dict, _VIDEO, 5)
    sizes = [name for name, size in SIZES.items() if size.dim == width]
    if not sizes:
        known = ", ".join(f"{name} {size.dim}" for name, size in SIZES.items())
        raise ValueError(f"{path}: encoder width {width} is that of no model size ({known})")
    model: PretrainingModel | Classifier
    if "head.weight" in state_dict:
        model = classifier(sizes[0], _num_rows(path, state_dict, "head.weight", 2), **overrides)
    else:
        model = pretraining_model(sizes[0], **overrides)
    load_weights(model, state_dict, f"{path}: these weights do not fit the {sizes[0]} {type(model).__name__}")
    return model.eval()


def _model_of(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's weights under its own names, where a trainer holds them as one of its fields, such as ``model.``."""
    prefixes = [key.removesuffix(_VIDEO) for key in weights if f".{key}".endswith(f".{_VIDEO}")]
    if not prefixes or "" in prefixes:
        return weights
    prefix = "model." if "model." in prefixes else prefixes[0]
    others = [key for key in weights if not key.startswith(prefix)]
    if others:
        log_line(f"{path}: weights taken from `{prefix}`, not {some(others)}")
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _check_kind(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse the weights of other models, saying whose they look like."""
    missing = [key for key in (_VIDEO, _AUDIO) if key not in weights]
    if not missing:
        return
    if missing == [_AUDIO]:
        why = "they have a video encoder alone, as those of VideoMAE, MAE-DFER or a model trained on video"
    elif missing == [_VIDEO]:
        why = "they have an audio encoder alone, as those of a model trained on audio"
    elif "patch_embed.proj.weight" in weights:
        why = "they are of a single transformer, as a fine-tuned VideoMAE, MAE-DFER or AudioMAE"
    else:
        why = f"found {some(list(weights))}"
    raise ValueError(
        f"{path}: not one that this project wrote, and missing {missing[0]}, so not the weights of HiCMAE; {why}"
    )


def _num_rows(path: Path, weights: Mapping[str, Tensor], key: str, num_axes: int) -> int:
    given = weights[key]
    if not isinstance(given, Tensor) or given.dim() != num_axes:
        found = f"shape {list(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(f"{path}: {key} is {found} instead of a tensor of {num_axes} axes")
    return len(given)


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
