"""The model sizes (paper table 2): demo, tiny, small and base."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from hicmae_core.model.architecture import Architecture, ClassifierArchitecture, PretrainingArchitecture
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel

A = TypeVar("A", bound=Architecture)


@dataclass(frozen=True)
class Size:
    """Widths and depths, the same for both modalities."""

    dim: int
    num_heads: int
    decoder_dim: int
    decoder_num_heads: int
    depth: int = 10
    levels: tuple[int, ...] = (3, 6, 9)
    fusion_depth: int = 2
    decoder_depth: int = 4


SIZES = {
    "demo": Size(128, 4, 64, 2, depth=4, levels=(1, 2, 3), fusion_depth=1),
    "tiny": Size(256, 4, 128, 2),
    "small": Size(384, 6, 192, 3),
    "base": Size(512, 8, 384, 6),
}


def pretraining_model(size: str, **overrides: Any) -> PretrainingModel:
    """A freshly initialised pre-training model.

    Args:
        size: A key of `SIZES`.
        **overrides: Fields of `PretrainingArchitecture`.

    Raises:
        ValueError: For an unknown size or field, or values that cannot be built.
    """
    chosen = _size(size)
    values = _encoder_fields(chosen) | {
        "levels": chosen.levels,
        "video_decoder_dim": chosen.decoder_dim,
        "video_decoder_depth": chosen.decoder_depth,
        "video_decoder_num_heads": chosen.decoder_num_heads,
        "audio_decoder_dim": chosen.decoder_dim,
        "audio_decoder_depth": chosen.decoder_depth,
        "audio_decoder_num_heads": chosen.decoder_num_heads,
    }
    return PretrainingModel(_architecture(PretrainingArchitecture, values, overrides))


def classifier(size: str, num_outputs: int, **overrides: Any) -> Classifier:
    """A freshly initialised classifier or regressor.

    Args:
        size: A key of `SIZES`.
        num_outputs: Classes, or continuous targets.
        **overrides: Fields of `ClassifierArchitecture`.

    Raises:
        ValueError: For an unknown size or field, or values that cannot be built.
    """
    values = _encoder_fields(_size(size)) | {"num_outputs": num_outputs}
    return Classifier(_architecture(ClassifierArchitecture, values, overrides))


def _size(name: str) -> Size:
    if name not in SIZES:
        raise ValueError(f"no model size {name!r}; choose one of {', '.join(SIZES)}")
    return SIZES[name]


def _encoder_fields(size: Size) -> dict[str, Any]:
    return {
        "video_dim": size.dim,
        "video_depth": size.depth,
        "video_num_heads": size.num_heads,
        "audio_dim": size.dim,
        "audio_depth": size.depth,
        "audio_num_heads": size.num_heads,
        "fusion_depth": size.fusion_depth,
        "fusion_num_heads": size.num_heads,
    }


def _architecture(kind: type[A], values: dict[str, Any], overrides: dict[str, Any]) -> A:
    known = [field.name for field in fields(kind)]
    unknown = [name for name in overrides if name not in known]
    if unknown:
        raise ValueError(f"unknown model field(s) {', '.join(unknown)}; known are {', '.join(known)}")
    return kind(**(values | overrides))
