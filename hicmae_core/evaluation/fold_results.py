"""What the evaluation of a fold's test clips leaves behind: predictions, metrics, and rows for DVC's plots.

Predictions of clips become those of the units that are scored (`hicmae_core.store.manifest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hicmae_core.config import DatasetParams, Modality
from hicmae_core.evaluation.metrics import classification_metrics, regression_metrics
from hicmae_core.files import atomic_path, write_json
from hicmae_core.store.manifest import Units

PREDICTIONS_NAME = "predictions.parquet"
METRICS_NAME = "metrics.json"
ALONE_NAME = "alone.parquet"
CONFUSION_NAME = "confusion.csv"
ALONE: tuple[Modality, ...] = ("audio", "video")
"""What an audio-visual model is also shown by itself, so that a results table says what each modality does."""

CLIP = "clip"
"""The unit where each clip is scored by itself."""
_CUT_FROM = {"avcaffe": "participant x task"}
"""What the clips of a unit share, by corpus."""
_NAMED = "named by the column `unit`"


def actual_and_predicted(predictions: pd.DataFrame, dataset: DatasetParams) -> tuple[NDArray[Any], NDArray[Any]]:
    """Class ids, or values of a regression, of a table of predictions, by unit: twice `[num_units, num_targets]`."""
    rows = by_unit(predictions, dataset)
    kinds = ("target", "output") if dataset.task == "regression" else ("label", "prediction")
    actual, predicted = (rows[[kind + suffix for suffix in dataset.suffixes]].to_numpy() for kind in kinds)
    return actual, predicted


def metrics_of(predictions: pd.DataFrame, dataset: DatasetParams) -> dict[str, float]:
    """Metrics of a table of predictions (`prediction.predict`) by unit, in the order they are reported.

    Raises:
        ValueError: If the table is empty, or a label is not one of the dataset's classes.
    """
    actual, predicted = actual_and_predicted(predictions, dataset)
    if dataset.task == "regression":
        return regression_metrics(actual, predicted, dataset.targets)
    return classification_metrics(actual, predicted, len(dataset.classes), dataset.targets)


def plot_rows(predictions: pd.DataFrame, dataset: DatasetParams) -> pd.DataFrame:
    """Columns ``actual`` and ``predicted``, and where there are several targets ``target``: a row per unit and target.

    Values of a regression, or names of classes, which begin with their target's, so that a single confusion matrix
    of all rows is made of one block per target.
    """
    actual, predicted = actual_and_predicted(predictions, dataset)
    rows = pd.DataFrame({"actual": actual.T.ravel(), "predicted": predicted.T.ravel()})
    targets = pd.Series(np.repeat(dataset.targets, len(actual)))
    if dataset.task != "regression":
        rows = rows.apply(lambda ids: ids.map(dict(enumerate(dataset.classes))))
    if dataset.task == "multi_classification":
        rows = rows.apply(lambda names: targets + " " + names)
    if dataset.targets:
        rows.insert(0, "target", targets)
    return rows


def write_fold_results(
    predictions: pd.DataFrame, dataset: DatasetParams, out_dir: Path, alone: Mapping[str, pd.DataFrame] | None = None
) -> dict[str, float]:
    """Write one fold's ``predictions.parquet``, a row per clip, and by unit ``metrics.json`` and ``confusion.csv``.

    ``alone.parquet`` holds the predictions `alone` of the same model shown one modality, by modality; no rows, if none.

    The metrics are fractions, with ``num_clips``, ``num_units`` and ``num_subjects`` (known ones) beside them;
    ``confusion.csv`` is `plot_rows`, as DVC's ``confusion`` template wants it.

    Returns:
        What is in ``metrics.json``.

    Raises:
        ValueError: As `metrics_of`.
    """
    counts = {
        "num_clips": len(predictions),
        "num_units": unit_names(predictions).nunique(),
        "num_subjects": int(predictions["subject"].nunique()),
    }
    metrics = {**metrics_of(predictions, dataset), **counts}
    with atomic_path(out_dir / PREDICTIONS_NAME) as temporary:
        predictions.to_parquet(temporary, index=False)
    with atomic_path(out_dir / ALONE_NAME) as temporary:
        pd.concat(alone.values() if alone else [predictions.iloc[:0]]).to_parquet(temporary, index=False)
    with atomic_path(out_dir / CONFUSION_NAME) as temporary:
        plot_rows(predictions, dataset).to_csv(temporary, index=False)
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


def read_alone(folder: Path) -> dict[str, pd.DataFrame]:
    """The predictions of the same model shown one modality, by modality; none in folders from before there were any."""
    path = folder / ALONE_NAME
    if not path.exists():
        return {}
    return {str(shown): rows for shown, rows in pd.read_parquet(path).groupby("shown", sort=True)}


def by_unit(predictions: pd.DataFrame, dataset: DatasetParams) -> pd.DataFrame:
    """One row per unit, in the order of their first clips.

    Probabilities, or a regression's outputs, are averaged over the clips; the prediction is the most probable class.
    What the clips of a unit share (label, subject, fold) is the first clip's. A table whose clips are the units, or one
    from before there were units, is returned as it is.

    Args:
        predictions: A table of `prediction.predict`, of one fold or of several; each clip is there once.
        dataset: What is predicted.
    """
    if "unit" not in predictions:
        return predictions
    units = Units(predictions["unit"].tolist())
    if units.are_clips:
        return predictions
    rows = predictions.iloc[units.first].reset_index(drop=True)
    if dataset.task == "regression":
        columns = [f"output_{name}" for name in dataset.targets]
        rows[columns] = units.mean(predictions[columns].to_numpy("float64"))
        return rows
    for suffix in dataset.suffixes:
        columns = [f"p{suffix}_{name}" for name in dataset.classes]
        means = units.mean(predictions[columns].to_numpy("float64"))
        rows[columns] = means
        rows[f"prediction{suffix}"] = means.argmax(axis=1)
    return rows


def unit_names(predictions: pd.DataFrame) -> pd.Series:
    """Each row's unit; of tables from before there were units, the clip."""
    return predictions["unit" if "unit" in predictions else "clip_id"]


def unit_in_words(predictions: pd.DataFrame, dataset: DatasetParams) -> str:
    """What is scored: ``clip``, or what the clips of a unit share."""
    if (unit_names(predictions) == predictions["clip_id"]).all():
        return CLIP
    return _CUT_FROM.get(dataset.corpus, _NAMED)
