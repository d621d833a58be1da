"""The fine-tuned model: hierarchical feature fusion, pooling and a linear head (paper section 3.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hicmae_core.model.architecture import ClassifierArchitecture, Fusion, Pooling
from hicmae_core.model.encoder import Encoder
from hicmae_core.model.layers import FusionEncoder, init_weights, layer_norm
from hicmae_core.model.weights_file import load_weights

INIT_SCALE = 0.001
_ENCODERS = ("encoder", "encoder_audio", "encoder_fusion")
_HEAD = ("fc_norm", "head")
_ACTIVATIONS = {"none": nn.Identity, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}

_EPSILON = 1e-6
_MOMENTUM = 0.1


class Classifier(nn.Module):
    """Audio-visual classifier or regressor. Parameters carry the names of the published checkpoints.

    With one modality, only its encoder exists: the other encoder and the fusion encoder are not built.
    """

    def __init__(self, architecture: ClassifierArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        feature_dim = 0
        if a.modality != "audio":
            self.encoder = Encoder(
                a.video_shape, a.video_patch, a.video_dim, a.video_depth, a.video_num_heads, a.drop_path
            )
            self.video_layer_weights = _layer_weights(a.fusion, a.video_depth)
            feature_dim += self._width(self.encoder, a.video_dim)
        if a.modality != "video":
            self.encoder_audio = Encoder(
                a.audio_shape, a.audio_patch, a.audio_dim, a.audio_depth, a.audio_num_heads, a.drop_path
            )
            self.audio_layer_weights = _layer_weights(a.fusion, a.audio_depth)
            feature_dim += self._width(self.encoder_audio, a.audio_dim)
        if a.modality == "both":
            self.encoder_fusion = FusionEncoder(
                a.video_dim, a.audio_dim, a.fusion_depth, a.fusion_num_heads, a.drop_path
            )
            feature_dim += a.video_dim + a.audio_dim
        self.fc_norm = layer_norm(feature_dim) if a.pooling == "mean" else Standardise(feature_dim)
        self.head = nn.Linear(feature_dim, a.num_outputs)
        self.activation = _ACTIVATIONS[a.output_activation]()
        self.apply(init_weights)
        self.head.weight.data.mul_(INIT_SCALE)

    def forward(self, video: Tensor | None, audio: Tensor | None) -> Tensor:
        """Classify or regress clips.

        Args:
            video: ImageNet-normalised clips ``[B, 3, T, H, W]``; ignored by an audio model.
            audio: Normalised log-mel spectrograms ``[B, 1, time, mel]``; ignored by a video model.

        Returns:
            ``[B, num_outputs]``: logits, or the activated outputs of a regressor.

        Raises:
            ValueError: If an input that the model reads is None or has another shape than it was built for.
        """
        result: Tensor = self.activation(self.head(self.features(video, audio)))
        return result

    def features(self, video: Tensor | None, audio: Tensor | None) -> Tensor:
        """What the head reads, after the last norm: ``[B, 4D]``, or ``[B, D]`` with one modality, of pooled means.

        Inputs as `forward`. Of statistics each encoder gives ``2 P D`` numbers at its P places, and fusion 2D.
        """
        a = self.architecture
        parts, last = [], []
        if a.modality != "audio":
            tokens, levels = self.encoder(_present("video", video), self._levels(a.video_depth))
            parts.append(self._feature(tokens, levels, self.video_layer_weights, *self.pooled_over("video", video)))
            last.append(tokens)
        if a.modality != "video":
            tokens, levels = self.encoder_audio(_present("audio", audio), self._levels(a.audio_depth))
            parts.append(self._feature(tokens, levels, self.audio_layer_weights, *self.pooled_over("audio", audio)))
            last.append(tokens)
        if a.modality == "both":
            parts += [tokens.mean(dim=1) for tokens in self.encoder_fusion(*last)]
        result: Tensor = self.fc_norm(torch.cat(parts, dim=-1))
        return result

    def freeze_features(self) -> None:
        """Let only the last norm and the head learn, which pre-training does not give: a linear probe.

        The layer weights stay as they are, uniform in a fresh model.
        """
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in _HEAD)

    def train(self, mode: bool = True) -> Self:
        """As of any module, but an encoder that does not learn stays in eval mode, without stochastic depth."""
        super().train(mode)
        for name, encoder in self.named_children():
            if name in _ENCODERS:
                encoder.train(mode and any(parameter.requires_grad for parameter in encoder.parameters()))
        return self

    def pooled_over(self, name: str, x: Tensor | None) -> tuple[int, Tensor | None]:
        """The steps of a modality's tokens, ``video`` or ``audio``, and which of an input's the statistics count."""
        a = self.architecture
        if name == "video":
            return self.encoder.patch_embed.grid[0], None
        counted = audio_steps(_present(name, x), a.audio_patch[0]) if a.pooling == "statistics" else None
        return self.encoder_audio.patch_embed.grid[0], counted

    def _feature(
        self,
        tokens: Tensor,
        levels: list[Tensor],
        layer_weights: nn.Parameter | None,
        num_steps: int,
        counted: Tensor | None,
    ) -> Tensor:
        pooled = [pool(level, num_steps, self.architecture.pooling, counted) for level in levels or [tokens]]
        return pooled[0] if layer_weights is None else layer_fusion(torch.stack(pooled, dim=1), layer_weights)

    def _width(self, encoder: Encoder, dim: int) -> int:
        grid = encoder.patch_embed.grid
        return pooled_width(math.prod(grid), grid[0], dim, self.architecture.pooling)

    def _levels(self, depth: int) -> range:
        return range(depth if self.architecture.fusion == "hierarchical" else 0)


def _layer_weights(fusion: Fusion, depth: int) -> nn.Parameter | None:
    return nn.Parameter(torch.full((depth,), 1 / depth)) if fusion == "hierarchical" else None


def layer_fusion(pooled: Tensor, layer_weights: Tensor) -> Tensor:
    """Mean of the blocks' pooled tokens ``[B, L, F]``, weighted by the softmax of ``[L]`` learned scalars."""
    return (layer_weights.softmax(dim=0)[:, None] * pooled).sum(dim=1)


def initialise_from_pretraining(classifier: Classifier, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the encoders, and the fusion encoder where there is one, from a pre-trained model's weights.

    Args:
        classifier: The model to fill; its layer weights, last norm and head stay as they are.
        state_dict: Weights of a `PretrainingModel`, under its own or the published names.

    Raises:
        ValueError: Naming every encoder key that is missing, superfluous or of another shape.
    """
    encoders = {name: module for name, module in classifier.named_children() if name in _ENCODERS}
    wanted = nn.ModuleDict(encoders)
    given = {key: value for key, value in state_dict.items() if key.split(".")[0] in encoders}
    load_weights(wanted, given, "these pre-trained weights do not fit the classifier")


def _present(name: str, x: Tensor | None) -> Tensor:
    if x is None:
        raise ValueError(f"this model reads {name}, but {name} is None; build it with the other modality alone instead")
    return x


def pool(tokens: Tensor, num_steps: int, pooling: Pooling, counted: Tensor | None = None) -> Tensor:
    """Pool the tokens of one block.

    Args:
        tokens: ``[B, N, D]``, those of a step after those of the step before.
        num_steps: Steps in time, T; a step has P places, ``N = T P``.
        pooling: ``mean``, over all tokens, as published; or ``statistics``: of every place the mean and the standard
            deviation over time, side by side.
        counted: Steps that the statistics count, bool ``[B, T]``; all when None.

    Returns:
        ``[B, D]``, or ``[B, 2 P D]`` of statistics.
    """
    if pooling == "mean":
        return tokens.mean(dim=1)
    steps = tokens.float().unflatten(1, (num_steps, -1))  # [B, T, P, D]; deviations suffer from half precision
    weights = steps.new_ones(1, num_steps) if counted is None else counted.float()
    weights = (weights / weights.sum(dim=1, keepdim=True))[:, :, None, None]
    mean = (weights * steps).sum(dim=1)
    variance = (weights * (steps - mean[:, None]).square()).sum(dim=1)
    return torch.stack((mean, (variance + _EPSILON).sqrt()), dim=1).flatten(1)


def pooled_width(num_tokens: int, num_steps: int, dim: int, pooling: Pooling) -> int:
    """The width of what `pool` gives."""
    return dim if pooling == "mean" else 2 * num_tokens // num_steps * dim


def audio_steps(audio: Tensor, frames_per_step: int) -> Tensor:
    """Steps of a spectrogram ``[B, 1, time, mel]`` in which there is audio, bool ``[B, T]``.

    What lies beyond a clip's end, a hidden voice and digital silence have one value throughout; a spectrogram of
    nothing else counts whole.
    """
    steps = audio.unflatten(2, (-1, frames_per_step)).flatten(3)[:, 0]
    heard = steps.amax(dim=2) > steps.amin(dim=2)
    result: Tensor = heard | ~heard.any(dim=1, keepdim=True)
    return result


class Standardise(nn.Module):
    """Features ``[B, F]`` less their mean, over their deviation: of the batch in training, then of the batches so far.

    Statistics differ in scale by place and channel; a linear probe wants them alike (a batch norm without gains).
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.eps = _EPSILON

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `x`."""
        return F.batch_norm(
            x.float(), self.running_mean, self.running_var, None, None, self.training, _MOMENTUM, self.eps
        )
