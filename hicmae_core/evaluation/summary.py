"""One dataset's results over its folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hicmae_core.config import DatasetParams, SummariseParams
from hicmae_core.corpora.published import PublishedResult
from hicmae_core.corpora.registry import results_beside
from hicmae_core.evaluation.fold_results import actual_and_predicted, metrics_of, unit_names
from hicmae_core.evaluation.metrics import confusion_matrix
from hicmae_core.evaluation.statistics import (
    Interval,
    MeanAndDeviation,
    bootstrap_intervals,
    group_sums,
    over_folds,
    pooled,
)

HEADLINES = {
    "classification": ("uar", "war", "weighted_f1", "macro_f1"),
    "multi_classification": ("weighted_f1", "uar", "war", "macro_f1"),
    "regression": ("pcc", "ccc", "rmse", "mae"),
}
"""Metrics reported first, by task."""


class Pooled(NamedTuple):
    """Metrics of all tested units together, and their bootstrap intervals; None where a single subject was tested."""

    metrics: dict[str, float]
    intervals: dict[str, Interval] | None


@dataclass(frozen=True)
class Summary:
    """A dataset's metrics per fold, over folds and pooled, as fractions (errors of regression: in target units)."""

    name: str
    """Dataset name in ``params.yaml``."""
    dataset: DatasetParams
    """How the dataset is read and what is predicted."""
    settings: SummariseParams
    """Bootstrap resamples and level of the intervals."""
    folds: dict[int, dict[str, float]]
    """Metrics by fold."""
    over_folds: dict[str, MeanAndDeviation]
    """Mean and standard deviation over folds, each fold counting once."""
    pooled: dict[str, float]
    """Metrics of all tested units together."""
    intervals: dict[str, Interval] | None
    """Bootstrap intervals of the pooled metrics; None where a single subject was tested."""
    predictions: pd.DataFrame
    """Predictions of the clips of all folds, with a ``fold`` column."""
    modality: str
    """What the models were trained on: ``both``, ``video`` or ``audio``."""
    shown: str
    """What of it they were shown when tested."""
    alone: dict[str, Pooled]
    """The same of the same models shown one modality, by modality; none of models of one."""
    by_group: dict[str, Pooled]
    """The same by group of speakers; empty where there are not two."""
    published: tuple[PublishedResult, ...]
    """Published numbers for this dataset, if they are of the same measurement."""
    not_comparable: str
    """Why no published numbers stand beside these, where there is a reason."""

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Units by actual (rows) and predicted class (columns), `[num_targets, C, C]`; not of a regression."""
        actual, predicted = actual_and_predicted(self.predictions, self.dataset)
        return confusion_matrix(actual, predicted, num_classes=len(self.dataset.classes))

    @property
    def headline(self) -> tuple[str, ...]:
        """Names of the metrics reported first."""
        return HEADLINES[self.dataset.task]


def summarise(
    name: str,
    dataset: DatasetParams,
    fold_predictions: Mapping[int, pd.DataFrame],
    settings: SummariseParams,
    seed: int,
    fold_alone: Mapping[int, Mapping[str, pd.DataFrame]] | None = None,
) -> Summary:
    """Aggregate the test predictions of a dataset's folds.

    Args:
        name: Dataset name.
        dataset: Its parameters.
        fold_predictions: Table of `prediction.predict` by 1-based fold; folds may be missing.
        settings: Bootstrap resamples and level of the intervals.
        seed: Seed of the bootstrap.
        fold_alone: By fold and modality, predictions of the same models and clips, shown that modality alone.

    Raises:
        ValueError: If there is no fold, a clip or unit was tested in more than one, or the folds were shown different
            modalities.
    """
    if not fold_predictions:
        raise ValueError(f"dataset {name}: no fold has been evaluated")
    order = sorted(fold_predictions)
    predictions = pd.concat([fold_predictions[fold].assign(fold=fold) for fold in order], ignore_index=True)
    _check_tested_once(predictions, name)
    modality, shown = _modality_shown(predictions, name)
    folds = {fold: metrics_of(fold_predictions[fold], dataset) for fold in order}
    everything = _pooled(predictions, dataset, settings, seed)
    alone = _alone(fold_alone or {}, order)
    published, not_comparable = results_beside(name, dataset, shown)
    return Summary(
        name=name,
        dataset=dataset,
        settings=settings,
        folds=folds,
        over_folds=over_folds(list(folds.values())),
        pooled=everything.metrics,
        intervals=everything.intervals,
        by_group=_by_group(predictions, dataset, settings, seed),
        alone={one: _pooled(table, dataset, settings, seed) for one, table in alone.items()},
        predictions=predictions,
        modality=modality,
        shown=shown,
        published=published,
        not_comparable=not_comparable,
    )


def _pooled(predictions: pd.DataFrame, dataset: DatasetParams, settings: SummariseParams, seed: int) -> Pooled:
    groups = group_sums(predictions, dataset)
    rng = np.random.default_rng(seed)
    return Pooled(pooled(groups), bootstrap_intervals(groups, settings.bootstrap_samples, settings.confidence, rng))


def _by_group(
    predictions: pd.DataFrame, dataset: DatasetParams, settings: SummariseParams, seed: int
) -> dict[str, Pooled]:
    groups = predictions.groupby("group") if "group" in predictions else ()  # older predictions know none
    tables = {str(name): rows.reset_index(drop=True) for name, rows in groups}
    return {name: _pooled(rows, dataset, settings, seed) for name, rows in tables.items()} if len(tables) > 1 else {}


def _alone(by_fold: Mapping[int, Mapping[str, pd.DataFrame]], order: Sequence[int]) -> dict[str, pd.DataFrame]:
    """The predictions of all folds by the modality shown, of those that every fold was shown."""
    shown = set.intersection(*(set(by_fold.get(fold, {})) for fold in order))
    return {one: pd.concat([by_fold[fold][one] for fold in order], ignore_index=True) for one in sorted(shown)}


def _check_tested_once(predictions: pd.DataFrame, name: str) -> None:
    by_fold = pd.DataFrame({"unit": unit_names(predictions), "fold": predictions["fold"]}).drop_duplicates()
    for what, names in (("clips", predictions["clip_id"]), ("units", by_fold["unit"])):
        repeated = names[names.duplicated()]
        if len(repeated):
            raise ValueError(
                f"dataset {name}: {len(repeated)} {what} were tested in more than one fold, such as "
                f"{repeated.iloc[0]}; check the folds of its manifest"
            )


def _modality_shown(predictions: pd.DataFrame, name: str) -> tuple[str, str]:
    """What all models were trained on, and what of it they were shown."""
    pairs = sorted(set(zip(predictions["modality"], predictions["shown"], strict=True)))
    if len(pairs) > 1:
        raise ValueError(
            f"dataset {name}: folds differ in the modality they were trained on and shown "
            f"({', '.join(f'{shown} of {trained}' for trained, shown in pairs)}); fine-tune and evaluate them all again"
        )
    return pairs[0]
