"""What a model is made of: frozen descriptions from which models are built, saved and loaded again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hicmae_core.config import AUDIO_PATCH, NUM_MEL_BINS, VIDEO_PATCH, Modality, patch_problems

OutputActivation = Literal["none", "sigmoid", "relu", "tanh"]
Fusion = Literal["hierarchical", "last"]
Pooling = Literal["mean", "statistics"]

IN_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What both models share: the inputs, one encoder per modality and the fusion encoder.

    Attributes:
        image_size: Side of the face image, pixels.
        num_frames: Frames of a clip.
        num_audio_frames: Log-mel frames of a clip.
        num_mel_bins: Mel bins of a log-mel frame.
        video_patch: Frames (2, which frame differences pair), rows and columns of a tubelet.
        audio_patch: Log-mel frames and mel bins of a spectrogram patch.
        video_dim: Width of the video encoder; likewise `audio_dim`.
        video_depth: Blocks of the video encoder; likewise `audio_depth`.
        video_num_heads: Attention heads of the video encoder; likewise `audio_num_heads`.
        fusion_depth: Layers of the fusion encoder.
        fusion_num_heads: Attention heads of the fusion encoder.

    Raises:
        ValueError: Naming every field whose value cannot be built.
    """

    image_size: int = 160
    num_frames: int = 16
    num_audio_frames: int = 256
    num_mel_bins: int = NUM_MEL_BINS
    video_patch: tuple[int, int, int] = VIDEO_PATCH
    audio_patch: tuple[int, int] = AUDIO_PATCH
    video_dim: int
    video_depth: int
    video_num_heads: int
    audio_dim: int
    audio_depth: int
    audio_num_heads: int
    fusion_depth: int
    fusion_num_heads: int

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise ValueError("this model cannot be built: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        problems = patch_problems(
            self.image_size,
            self.num_frames,
            self.num_audio_frames,
            self.num_mel_bins,
            self.video_patch,
            self.audio_patch,
        )
        for name in ("video_depth", "audio_depth", "fusion_depth"):
            if getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}, below 1")
        problems += _head_problems(self, "video_dim", "video_num_heads")
        problems += _head_problems(self, "audio_dim", "audio_num_heads")
        problems += _head_problems(self, "video_dim", "fusion_num_heads")
        problems += _head_problems(self, "audio_dim", "fusion_num_heads")
        return problems

    @property
    def video_shape(self) -> tuple[int, int, int, int]:
        """One clip's video: colours, frames, rows, columns."""
        return IN_CHANNELS, self.num_frames, self.image_size, self.image_size

    @property
    def audio_shape(self) -> tuple[int, int, int]:
        """One clip's spectrogram: 1, log-mel frames, mel bins."""
        return 1, self.num_audio_frames, self.num_mel_bins


@dataclass(frozen=True, kw_only=True)
class PretrainingArchitecture(Architecture):
    """The masked autoencoder.

    Attributes:
        levels: Encoder blocks, 0-based and ascending, whose outputs are contrasted and lent to the decoders.
        video_decoder_dim: Width of the video decoder; likewise `audio_decoder_dim`.
        video_decoder_depth: Blocks of the video decoder, the first plain, each further one attending to a
            level, deepest first; all plain without `skips`; likewise `audio_decoder_depth`.
        video_decoder_num_heads: Attention heads of the video decoder; likewise `audio_decoder_num_heads`.
        temperature: Temperature of the contrastive logits.
        gather_negatives: When several processes train together, contrast the clips of all of them, not only
            this process's as the authors did.
        skips: Hierarchical skip connections from the encoders' levels to the decoders.
    """

    levels: tuple[int, ...]
    video_decoder_dim: int
    video_decoder_depth: int
    video_decoder_num_heads: int
    audio_decoder_dim: int
    audio_decoder_depth: int
    audio_decoder_num_heads: int
    temperature: float = 0.07
    gather_negatives: bool = False
    skips: bool = True

    def _problems(self) -> list[str]:
        problems = super()._problems()
        last = min(self.video_depth, self.audio_depth) - 1
        ascending = list(self.levels) == sorted(set(self.levels))
        if not self.levels or not ascending or self.levels[0] < 0 or self.levels[-1] > last:
            problems.append(f"levels {self.levels} are not one or more ascending block indices between 0 and {last}")
        for name in ("video_decoder_depth", "audio_decoder_depth"):
            if getattr(self, name) < 1 or (self.skips and getattr(self, name) > len(self.levels) + 1):
                problems.append(
                    f"{name} is {getattr(self, name)}, but {len(self.levels)} levels serve 1 to {len(self.levels) + 1}"
                )
        if self.video_dim != self.audio_dim:
            problems.append(
                f"video_dim {self.video_dim} and audio_dim {self.audio_dim} differ, so no cosine is defined"
            )
        if not self.temperature > 0:
            problems.append(f"temperature is {self.temperature}, not above 0")
        problems += _head_problems(self, "video_decoder_dim", "video_decoder_num_heads")
        problems += _head_problems(self, "audio_decoder_dim", "audio_decoder_num_heads")
        return problems


@dataclass(frozen=True, kw_only=True)
class ClassifierArchitecture(Architecture):
    """The fine-tuned model.

    Attributes:
        num_outputs: Classes, or continuous targets.
        modality: ``both``, or the one encoder that is built and run.
        drop_path: Stochastic depth at the last block; it grows linearly from 0.
        output_activation: Applied to the head's output (regression).
        fusion: Features of an encoder for the head: the learned mean over all its blocks (``hierarchical``), or the
            last block's alone.
        pooling: What the head reads of an encoder's tokens: their ``mean``, as published, through a LayerNorm; or
            ``statistics``, mean and deviation over time at every place, standardised.
    """

    num_outputs: int
    modality: Modality = "both"
    drop_path: float = 0.0
    output_activation: OutputActivation = "none"
    fusion: Fusion = "hierarchical"
    pooling: Pooling = "mean"

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.num_outputs < 1:
            problems.append(f"num_outputs is {self.num_outputs}, below 1")
        if self.modality not in get_args(Modality):
            problems.append(f"modality is {self.modality!r}, not one of {get_args(Modality)}")
        if not 0 <= self.drop_path < 1:
            problems.append(f"drop_path is {self.drop_path}, not between 0 and 1")
        if self.output_activation not in get_args(OutputActivation):
            problems.append(f"output_activation is {self.output_activation!r}, not one of {get_args(OutputActivation)}")
        if self.fusion not in get_args(Fusion):
            problems.append(f"fusion is {self.fusion!r}, not one of {get_args(Fusion)}")
        if self.pooling not in get_args(Pooling):
            problems.append(f"pooling is {self.pooling!r}, not one of {get_args(Pooling)}")
        return problems


def _head_problems(architecture: Architecture, dim_name: str, num_heads_name: str) -> list[str]:
    dim, num_heads = getattr(architecture, dim_name), getattr(architecture, num_heads_name)
    if dim < 1 or num_heads < 1 or dim % num_heads:
        return [f"{dim_name} {dim} is not a positive multiple of {num_heads_name} {num_heads}"]
    return []
