"""What a step of fine-tuning computes on the device, from augmented clips to losses: what is compiled and replicated.

Shapes are static and nothing waits for the device, so that a step is one graph.
"""

from __future__ import annotations

from torch import Tensor, nn

from hicmae_core.config import DatasetParams, FinetuneParams
from hicmae_core.model.classifier import Classifier
from hicmae_core.training.finetuning_losses import classification_loss, shared_regression_loss


class FinetuningObjective(nn.Module):
    """Classify clips, or predict their values (paper section 3.5).

    Args:
        model: The classifier or regressor.
        dataset: Its `task` says which.
        settings: `regression_loss` counts.
        class_weights: ``[targets, classes]`` (`balance.class_weights`); None weights all classes alike.
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
