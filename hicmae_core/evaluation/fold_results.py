"""What the one look at a fold's test clips leaves behind: predictions, metrics, and rows for DVC's plots."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.metrics import classification_metrics, regression_metrics
from hicmae_core.files import atomic_path, write_json

PREDICTIONS_NAME = "predictions.parquet"
METRICS_NAME = "metrics.json"
CONFUSION_NAME = "confusion.csv"


def metrics_of(predictions: pd.DataFrame, dataset: DatasetParams) -> dict[str, float]:
    """Metrics of a table of predictions (`prediction.predict`), in the order they are reported.

    Raises:
        ValueError: If the table is empty, or a label is not one of the dataset's classes.
    """
    if dataset.task == "classification":
        return classification_metrics(predictions["label"], predictions["prediction"], len(dataset.classes))
    targets = predictions[[f"target_{name}" for name in dataset.targets]]
    outputs = predictions[[f"output_{name}" for name in dataset.targets]]
    return regression_metrics(targets, outputs, dataset.targets)


def actual_and_predicted(predictions: pd.DataFrame, dataset: DatasetParams) -> pd.DataFrame:
    """Columns ``actual`` and ``predicted``: class names, a row per clip; or values, a row per clip and ``target``."""
    if dataset.task == "classification":
        names = dict(enumerate(dataset.classes))
        return pd.DataFrame(
            {"actual": predictions["label"].map(names), "predicted": predictions["prediction"].map(names)}
        )
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "target": name,
                    "actual": predictions[f"target_{name}"],
                    "predicted": predictions[f"output_{name}"],
                }
            )
            for name in dataset.targets
        ],
        ignore_index=True,
    )


def write_fold_results(predictions: pd.DataFrame, dataset: DatasetParams, out_dir: Path) -> dict[str, float]:
    """Write one fold's ``predictions.parquet``, ``metrics.json`` and ``confusion.csv``.

    The metrics are fractions, with ``num_clips`` and ``num_subjects`` (known ones) beside them; ``confusion.csv`` is
    `actual_and_predicted`, as DVC's ``confusion`` template wants it.

    Returns:
        What is in ``metrics.json``.

    Raises:
        ValueError: As `metrics_of`.
    """
    counts = {"num_clips": len(predictions), "num_subjects": int(predictions["subject"].nunique())}
    metrics = {**metrics_of(predictions, dataset), **counts}
    with atomic_path(out_dir / PREDICTIONS_NAME) as temporary:
        predictions.to_parquet(temporary, index=False)
    with atomic_path(out_dir / CONFUSION_NAME) as temporary:
        actual_and_predicted(predictions, dataset).to_csv(temporary, index=False)
    write_json(out_dir / METRICS_NAME, metrics)
    return metrics


def read_predictions(folder: Path) -> pd.DataFrame:
    """Read back the predictions that `write_fold_results` wrote into `folder`.

    Raises:
        ValueError: If they are missing.
    """
    path = folder / PREDICTIONS_NAME
    if not path.exists():
        raise ValueError(f"{path}: no such file; run the evaluate stage of this fold first")
    return pd.read_parquet(path)
