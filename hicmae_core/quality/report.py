"""The quality report of a prepared dataset: a page for people, tables and numbers for machines."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.shards import ClipStore
from hicmae_core.files import atomic_path, write_json, write_text
from hicmae_core.quality import page, sections
from hicmae_core.quality.duplicates import find_duplicates, speakers_in_several_folds
from hicmae_core.quality.histograms import histograms
from hicmae_core.quality.outcome import numbers, outcome_of
from hicmae_core.quality.sheets import face_sheets, rejected_sheet


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
        wanted = {"both": "both a face and sound", "video": "a face", "audio": "sound"}[dataset.modality]
        raise ValueError(f"{name}: no clip has {wanted}, so there is nothing to report on")
    duplicates = find_duplicates(manifest, faces.index, audio.index, dataset.modality)
    speakers = speakers_in_several_folds(outcome.usable)
    summary = numbers(outcome, duplicates, speakers)
    line = sections.verdict(name, outcome, duplicates, speakers)
    parts = [
        page.paragraph(line, "warning" if len(duplicates) or len(speakers) else "good"),
        *sections.outcome_section(outcome),
        *sections.label_section(outcome.usable, dataset),
        *sections.duplicates_section(duplicates, speakers),
        *sections.histogram_section(histograms(outcome)),
        *sections.sheet_section([*face_sheets(outcome, faces), rejected_sheet(outcome.rejects, root)]),
        *sections.reject_section(outcome.rejects),
    ]
    for table, rows in (("duplicates", duplicates), ("rejects", outcome.rejects)):
        with atomic_path(out_dir / f"{name}-{table}.csv") as temporary:
            rows.to_csv(temporary, index=False)
    write_text(out_dir / f"{name}.html", page.page(f"Quality of the prepared dataset {name}", parts))
    write_json(metrics_path, summary)
    return line
