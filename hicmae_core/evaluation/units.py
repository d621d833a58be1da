"""From a table of clips' predictions to one of the units that are scored (`hicmae_core.data.units`)."""

from __future__ import annotations

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.units import Units

CLIP = "clip"
"""The unit where each clip is scored by itself."""
_CUT_FROM = {"avcaffe": "participant x task"}
"""What the clips of a unit share, by corpus."""
_NAMED = "named by the column `unit`"


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
