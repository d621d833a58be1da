"""Fine-tune and evaluate one dataset, fold by fold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.states import State
from pydantic import Field

from hicmae import layout
from hicmae_core.config import Modality, Name
from pipelines.flows.reproduce import Parallel
from pipelines.flows.stage_tasks import bring_up_to_date
from pipelines.project.datasets import evaluate_alone

Folds = tuple[Annotated[int, Field(ge=1)], ...]


@flow(name="cross-validate")
def cross_validate(
    dataset: Name,
    folds: Folds = (),
    checkpoint: Path = layout.PRETRAINED_MODEL,
    modality: Modality = "both",
    max_parallel: Parallel = 1,
) -> State[None]:
    """Fine-tune and evaluate each fold of a dataset, and summarise.

    Args:
        dataset: A dataset of params.yaml; it becomes the one that is evaluated.
        folds: Which folds, 1-based; none means all.
        checkpoint: Where fine-tuning starts: this project's own pre-training, or a published checkpoint.
        modality: Train and evaluate on face and voice, or on one alone.
        max_parallel: Stages that may run at the same time.
    """

    def before(root: Path) -> None:
        settings = {"checkpoint": str(checkpoint), "modality": modality}
        evaluate_alone(root, dataset, list(folds), settings)

    return bring_up_to_date([f"summarise@{dataset}"], max_parallel=max_parallel, before=before)
