"""A training step on the device, from augmented clips to losses: what is compiled and wrapped for DDP.

Shapes are static and nothing waits for the device, so that a step is one graph.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from hicmae_core.config import DatasetParams, FinetuneParams, PretrainParams
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.masking import num_masked_tokens, random_split, tube_split
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.training.losses import classification_loss, pretraining_loss, shared_regression_loss


class PretrainingObjective(nn.Module):
    """Mask clips, reconstruct them and contrast their modalities (paper section 3.2 to 3.4).

    Raises:
        ValueError: If a mask ratio leaves nothing visible or nothing masked.
    """

    def __init__(self, model: PretrainingModel, settings: PretrainParams) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.num_time, *space = model.video_grid
        self.num_masked_video = num_masked_tokens(settings.video_mask_ratio, math.prod(space))
        self.num_masked_audio = num_masked_tokens(settings.audio_mask_ratio, math.prod(model.audio_grid))

    def forward(
        self, video: Tensor, video_scores: Tensor, audio: Tensor, audio_scores: Tensor, pairs: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            video: ImageNet-normalised clips ``[B, 3, T, H, W]``.
            video_scores: Uniform, ``[B, spatial positions]``: the lowest are hidden, at every time step.
            audio: Normalised log-mel spectrograms ``[B, 1, time, mel]``.
            audio_scores: Uniform, ``[B, audio tokens]``: the lowest are hidden.
            pairs: As `PretrainingModel.forward` takes it.

        Returns:
            Scalars: `total`, and its parts `video`, `audio` and `contrastive` (`losses.pretraining_loss`).
        """
        video_split = tube_split(video_scores, self.num_time, self.num_masked_video)
        audio_split = random_split(audio_scores, self.num_masked_audio)
        return pretraining_loss(
            self.model(video, video_split, audio, audio_split, pairs),
            video,
            video_split,
            audio,
            audio_split,
            self.settings.contrastive_weight,
            self.settings.frame_difference,
            (self.model.architecture.video_patch, self.model.architecture.audio_patch),
        )


class FinetuningObjective(nn.Module):
    """Classify clips, or predict their values (paper section 3.5).

    Args:
        model: The classifier or regressor.
        dataset: Its `task` says which.
        settings: `regression_loss` counts.
        class_weights: ``[targets, classes]`` (`losses.class_weights`); None weights all classes alike.
    """

    def __init__(
        self, model: Classifier, dataset: DatasetParams, settings: FinetuneParams, class_weights: Tensor | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.regression_loss = settings.regression_loss if dataset.task == "regression" else None
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, video: Tensor, audio: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            video: ImageNet-normalised clips ``[B, 3, T, H, W]``.
            audio: Normalised log-mel spectrograms ``[B, 1, time, mel]``.
            labels: Values ``[B, targets]`` for regression; else label distributions ``[B, targets, classes]``.

        Returns:
            The scalar `train_loss`.
        """
        outputs = self.model(video, audio).float()
        if self.regression_loss is not None:
            return {"train_loss": shared_regression_loss(outputs, labels, self.regression_loss)}
        return {"train_loss": classification_loss(outputs.view(labels.shape), labels, self.class_weights)}
