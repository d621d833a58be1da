"""Finished studies in a store, of any task and as good as a test wants them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hicmae.tracking.stage_runs import track
from hicmae_core.config import DatasetParams, Params
from hicmae_core.evaluation.summary import HEADLINES
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.tracking.tracked import PARAMS


def study(
    project: Path,
    share_right: float,
    epochs: int = PARAMS.finetune.epochs,
    dataset: DatasetParams | None = None,
    predictions: Mapping[int, pd.DataFrame] | None = None,
) -> Params:
    """Two folds of the demo, or of another dataset of that name, with ten subjects.

    Of each subject's clips this share is right; of a regression, the outputs are that near to the targets. Or the folds
    have these predictions.
    """
    described = dataset or PARAMS.dataset["demo"]
    tuned = PARAMS.finetune.model_copy(update={"epochs": epochs})
    params = PARAMS.model_copy(update={"finetune": tuned, "dataset": {**PARAMS.dataset, "demo": described}})
    for fold in (1, 2):
        torch.manual_seed(100 * epochs + fold)
        model = classifier("demo", described.num_outputs, image_size=32, num_frames=4, num_audio_frames=32)
        torch.nn.init.normal_(model.head.weight, std=0.02)
        metadata = {
            "classes": list(described.classes),
            "targets": list(described.targets),
            "faces": {"detector": "none", "size": 48},
            "frame_stride": 4,
        }
        save_model(project / "model.safetensors", model, metadata)
        with track("finetune", params, "demo", fold) as tracker:
            tracker.log_artifact(project / "model.safetensors")
        rows = predictions[fold] if predictions else _predictions(described, fold, share_right)
        rows.to_parquet(project / "predictions.parquet")
        with track("evaluate", params, "demo", fold) as tracker:
            tracker.log_artifact(project / "predictions.parquet")
    with track("summarise", params, "demo") as tracker:
        tracker.log_metrics({f"pooled_{HEADLINES[described.task][0]}": share_right}, step=0)
    return params


def _predictions(dataset: DatasetParams, fold: int, share_right: float) -> pd.DataFrame:
    clips = np.arange(20 * 5)
    table = pd.DataFrame(
        {
            "clip_id": [f"{fold}-{clip}" for clip in clips],
            "subject": [f"{fold}-{clip // 20}" for clip in clips],
        }
    )
    for suffix in dataset.suffixes:
        if dataset.task == "regression":
            truth, noise = np.random.default_rng(fold).normal(size=(2, len(clips)))
            table[f"target{suffix}"] = truth
            table[f"output{suffix}"] = share_right * truth + (1 - share_right) * noise
            continue
        labels, num_classes = clips % len(dataset.classes), len(dataset.classes)
        table[f"label{suffix}"] = labels
        table[f"prediction{suffix}"] = np.where(clips % 20 < 20 * share_right, labels, (labels + 1) % num_classes)
    return table
