"""The quality report of a prepared dataset: one self-contained HTML page, and tables and numbers for programs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from hicmae_core.config import DatasetParams
from hicmae_core.files import atomic_path, write_json, write_text
from hicmae_core.reports.duplicates import find_duplicates, speakers_in_several_folds
from hicmae_core.reports.outcome import (
    TRAIN_ONLY,
    PreparationOutcome,
    count_labels,
    describe_targets,
    histograms,
    numbers,
    outcome_of,
)
from hicmae_core.reports.sheets import Sheet, face_sheets, rejected_sheet
from hicmae_core.store.manifest import counts_by_status
from hicmae_core.store.shards import ClipStore

_MAX_ROWS = 2000
"""Rows of the long tables; the files beside the page have all."""
Table = list[list[object]]

_FINDINGS = {
    "different_folds": "LEAK: in different folds",
    "different_labels": "different labels",
    "different_speakers": "different speakers",
}


def write_quality_report(
    name: str,
    dataset: DatasetParams,
    manifest: pd.DataFrame,
    root: Path,
    faces: ClipStore,
    audio: ClipStore,
    out_dir: Path,
    metrics_path: Path,
) -> str:
    """Look at a prepared dataset and write down what there is to see.

    Writes ``NAME.html``, ``NAME-duplicates.csv`` (`find_duplicates`) and ``NAME-rejects.csv`` (every rejection with
    its reason) into `out_dir`, and the numbers as JSON. The same inputs give the same bytes.

    Args:
        name: The dataset's name.
        dataset: Its task and classes.
        manifest: Its clips.
        root: Its raw folder, from which frames of rejected clips are read.
        faces: Its face crops.
        audio: Its log-mel features.
        out_dir: Folder of the report.
        metrics_path: File of the numbers.

    Returns:
        What was found, in a line.

    Raises:
        ValueError: If no clip is usable.
    """
    outcome = outcome_of(manifest, faces.index, audio.index, dataset.modality)
    if outcome.usable.empty:
        wanted = {"both": "both a face and audio", "video": "a face", "audio": "audio"}[dataset.modality]
        raise ValueError(f"{name}: no clip has {wanted}, so there is nothing to report on")
    duplicates = find_duplicates(manifest, faces.index, audio.index, dataset.modality)
    speakers = speakers_in_several_folds(outcome.usable)
    for table, rows in (("duplicates", duplicates), ("rejects", outcome.rejects)):
        with atomic_path(out_dir / f"{name}-{table}.csv") as temporary:
            rows.to_csv(temporary, index=False)
    sheets = [*face_sheets(outcome, faces), rejected_sheet(outcome.rejects, root)]
    write_text(out_dir / f"{name}.html", page(name, dataset, outcome, duplicates, speakers, sheets))
    write_json(metrics_path, numbers(outcome, duplicates, speakers))
    return verdict(name, outcome, duplicates, speakers)


def verdict(name: str, outcome: PreparationOutcome, duplicates: pd.DataFrame, speakers: pd.DataFrame) -> str:
    """What was found, in a line; it says LEAK if training sees what is tested."""
    groups = duplicates.drop_duplicates("group")
    findings = {
        "LEAK: groups of copies in different folds": int(groups["different_folds"].sum()),
        "LEAK: speakers in several folds": len(speakers),
        "groups of copies with different labels": int(groups["different_labels"].sum()),
        "groups of copies with different speakers": int(groups["different_speakers"].sum()),
        "groups of copies in all": len(groups),
    }
    found = [f"{words}: {count:,}" for words, count in findings.items() if count]
    counts = f"{name}: {len(outcome.usable):,} of {len(outcome.steps['manifest']):,} clips are usable"
    return f"{counts}; {'; '.join(found) or 'no clip is there twice, no speaker is in two folds'}."


def page(
    name: str,
    dataset: DatasetParams,
    outcome: PreparationOutcome,
    duplicates: pd.DataFrame,
    speakers: pd.DataFrame,
    sheets: Sequence[Sheet],
) -> str:
    """The report as HTML."""
    num_listed = len(outcome.steps["manifest"])
    num_speakers = outcome.usable["subject"].nunique()
    known = f"{num_speakers:,} known speakers" if num_speakers else "speakers unknown"
    environment = Environment(
        loader=PackageLoader("hicmae_core.reports", "."), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    environment.filters["base64"] = lambda data: b64encode(data).decode()
    return environment.get_template("quality.html").render(
        title=f"Quality of the prepared dataset {name}",
        verdict=verdict(name, outcome, duplicates, speakers),
        is_clean=duplicates.empty and speakers.empty,
        funnel=[[step, count, f"{count / num_listed:.1%}"] for step, count in outcome.funnel.items()],
        usable=f"{outcome.usable['seconds'].sum() / 3600:,.2f} hours, {known}",
        statuses=_statuses(outcome),
        labels=_labels(outcome.usable, dataset),
        duplicates=_copies(duplicates),
        speakers=_rows(speakers),
        histograms=histograms(outcome),
        sheets=sheets,
        rejects=_rows(outcome.rejects[["clip_id", "stage", "status", "reason"]]),
        max_rows=_MAX_ROWS,
    )


def _statuses(outcome: PreparationOutcome) -> Table:
    """Clips per stage and status, with an example of each."""
    rows: Table = []
    for stage, clips in outcome.steps.items():
        examples = clips.drop_duplicates("status").set_index("status")
        for status, count in counts_by_status(clips).items():
            if count:
                clip_id, reason = examples.loc[status, ["clip_id", "reason"]]
                rows.append([stage, status, count, f"{clip_id}: {reason}" if reason else clip_id])
    return rows


def _labels(usable: pd.DataFrame, dataset: DatasetParams) -> list[tuple[list[str], Table]]:
    """Header and rows of the tables of usable clips per class or target and test fold."""
    if dataset.task == "unlabelled":
        return []
    tables = []
    for target, counts in count_labels(usable, dataset).items():
        header = [target, *(fold if fold in ("all", TRAIN_ONLY) else f"fold {fold}" for fold in counts)]
        tables.append((header, _rows(counts.reset_index())))
    if dataset.task == "regression":
        header = ["target", "mean", "standard deviation", "least", "greatest"]
        tables.append((header, _rows(describe_targets(usable, dataset).reset_index())))
    return tables


def _copies(duplicates: pd.DataFrame) -> Table:
    """Groups of copies, leaks first."""
    rows = duplicates.to_dict("records")
    words = [", ".join(words for key, words in _FINDINGS.items() if row[key]) or "copies" for row in rows]
    shown = duplicates[["match", "clip_id", "subject", "label_name", "test_fold"]].astype("object")
    shown = shown.where(shown.notna(), "")
    return [[row["group"], word, *cells] for row, word, cells in zip(rows, words, _rows(shown), strict=True)]


def _rows(frame: pd.DataFrame) -> Table:
    rows: Table = frame.to_dict("split")["data"]
    return rows
