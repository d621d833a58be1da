"""Reports of a summary: Markdown for people, CSV and JSON for programs, figures for both; and its calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.published import class_of
from hicmae_core.evaluation.calibration import calibration_of
from hicmae_core.evaluation.fold_results import plot_rows, unit_in_words, unit_names
from hicmae_core.evaluation.statistics import Interval
from hicmae_core.evaluation.summary import Pooled, Summary
from hicmae_core.files import atomic_path, write_json, write_text
from hicmae_core.reports.figures import plot_fold_boxes, plot_folds, plot_predictions, plot_reliability
from hicmae_core.reports.markdown import is_percent, results_markdown

CALIBRATION_NAME = "calibration.json"
RELIABILITY_NAME = "reliability.png"
_STATISTICS = ("mean", "std", "pooled", "low", "high")


def write_reports(summary: Summary, out_dir: Path) -> None:
    """Write ``results.md``, ``.csv`` and ``.json``, ``metrics.json``, ``confusion.csv`` and figures of all of it.

    The figures are ``confusion.png``, ``folds.png`` and ``boxes.png``.
    ``metrics.json`` holds the headline metrics, which ``dvc metrics show`` compares; ``confusion.csv`` is `plot_rows`
    of all folds, for DVC's plots. For regression ``confusion.png`` shows predicted against actual values.
    """
    record = results_record(summary)
    write_json(out_dir / "results.json", record)
    headline = {
        row: {name: record[row][name] for name in summary.headline} for row in _STATISTICS if record[row] is not None
    }
    write_json(out_dir / "metrics.json", headline)
    with atomic_path(out_dir / "results.csv") as temporary:
        results_table(record).to_csv(temporary, index=False)
    write_text(out_dir / "results.md", results_markdown(record))
    with atomic_path(out_dir / "confusion.csv") as temporary:
        plot_rows(summary.predictions, summary.dataset).to_csv(temporary, index=False)
    plot_predictions(summary.predictions, summary.dataset, out_dir / "confusion.png")
    table = results_table(record)
    plot_folds(table, summary.headline[:2], out_dir / "folds.png")
    plot_fold_boxes(table, [name for name in summary.headline if is_percent(name)], out_dir / "boxes.png")


def results_record(summary: Summary) -> dict[str, Any]:
    """All of a summary but the predictions, ready for JSON; our metrics are fractions, published ones percent."""
    clips = summary.predictions
    units_by_fold = unit_names(clips).groupby(clips["fold"]).nunique()
    deviations = {name: value.std for name, value in summary.over_folds.items() if value.std is not None}
    suffixes = () if summary.dataset.task == "regression" else summary.dataset.suffixes
    return {
        "dataset": summary.name,
        "task": summary.dataset.task,
        "classes": list(summary.dataset.classes),
        "targets": list(summary.dataset.targets),
        "labels": summary.dataset.labels,
        "modality": summary.modality,
        "shown": summary.shown,
        "face_source": summary.dataset.faces,
        "headline": list(summary.headline),
        "num_folds": summary.dataset.num_folds,
        "unit": unit_in_words(clips, summary.dataset),
        "num_clips": len(clips),
        "num_units": int(units_by_fold.sum()),
        "num_subjects": int(clips["subject"].nunique()),
        "clips_by_fold": {str(fold): int((clips["fold"] == fold).sum()) for fold in summary.folds},
        "units_by_fold": {str(fold): int(units_by_fold[fold]) for fold in summary.folds},
        "folds": {str(fold): metrics for fold, metrics in summary.folds.items()},
        "mean": {name: value.mean for name, value in summary.over_folds.items()},
        "std": deviations or None,
        "pooled": summary.pooled,
        "confidence": summary.settings.confidence,
        "bootstrap_samples": summary.settings.bootstrap_samples,
        **_ends(summary.intervals),
        "alone": {shown: _record_of(found) for shown, found in summary.alone.items()},
        "by_group": {name: _record_of(found) for name, found in summary.by_group.items()},
        **{f"confusion{suffix}": summary.confusion[index].tolist() for index, suffix in enumerate(suffixes)},
        "system_class": class_of(summary.shown),
        "published": [result._asdict() for result in summary.published],
        "not_comparable": summary.not_comparable,
    }


def _record_of(found: Pooled) -> dict[str, Any]:
    return {"pooled": found.metrics, **_ends(found.intervals)}


def _ends(intervals: Mapping[str, Interval] | None) -> dict[str, dict[str, float] | None]:
    ends = {end: {name: getattr(found, end) for name, found in (intervals or {}).items()} for end in ("low", "high")}
    return {end: values or None for end, values in ends.items()}


def results_table(record: Mapping[str, Any]) -> pd.DataFrame:
    """One row per fold, then mean, std, pooled, low and high (where there are); one column per metric."""
    rows = [{"row": f"fold {fold}", **metrics} for fold, metrics in record["folds"].items()]
    rows += [{"row": row, **record[row]} for row in _STATISTICS if record[row] is not None]
    return pd.DataFrame(rows)


def write_calibration(predictions: pd.DataFrame, dataset: DatasetParams, out_dir: Path) -> dict[str, Any]:
    """Write ``reliability.png`` and ``calibration.json`` of test predictions with a ``fold`` column.

    Returns:
        What is in ``calibration.json``.
    """
    found = calibration_of(predictions, dataset)
    plot_reliability(found.curves, found.risks, out_dir / RELIABILITY_NAME)
    write_json(out_dir / CALIBRATION_NAME, found.record)
    return found.record
