"""The sections of a quality report, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.manifest import counts_by_status
from hicmae_core.quality import page
from hicmae_core.quality.histograms import Histogram
from hicmae_core.quality.outcome import TRAIN_ONLY, Outcome, count_labels, describe_targets
from hicmae_core.quality.sheets import Sheet

_MAX_ROWS = 2000
"""Rows of the long tables; the files beside the page have all."""

_FINDINGS = {
    "different_folds": "LEAK: in different folds",
    "different_labels": "different labels",
    "different_speakers": "different speakers",
}


def verdict(name: str, outcome: Outcome, duplicates: pd.DataFrame, speakers: pd.DataFrame) -> str:
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


def outcome_section(outcome: Outcome) -> list[str]:
    """The funnel, and counts per status with an example of each."""
    num_listed = len(outcome.steps["manifest"])
    funnel = [[step, count, f"{count / num_listed:.1%}"] for step, count in outcome.funnel.items()]
    statuses: list[list[object]] = []
    for stage, clips in outcome.steps.items():
        examples = clips.drop_duplicates("status").set_index("status")
        for status, count in counts_by_status(clips).items():
            if count:
                clip_id, reason = examples.loc[status, ["clip_id", "reason"]]
                statuses.append([stage, status, count, f"{clip_id}: {reason}" if reason else clip_id])
    num_speakers = outcome.usable["subject"].nunique()
    speakers = f"{num_speakers:,} known speakers" if num_speakers else "speakers unknown"
    return [
        page.heading("What became of the clips"),
        page.table(["passed", "clips", "of all"], funnel),
        page.paragraph(f"Usable: {outcome.usable['seconds'].sum() / 3600:,.2f} hours, {speakers}."),
        page.heading("By status", 3),
        page.table(["stage", "status", "number", "example"], statuses),
    ]


def label_section(usable: pd.DataFrame, dataset: DatasetParams) -> list[str]:
    """Usable clips per class or target and test fold."""
    if dataset.task == "unlabelled":
        return []
    parts = [page.heading("Usable clips by label and test fold")]
    for target, counts in count_labels(usable, dataset).items():
        header = [target, *(fold if fold in ("all", TRAIN_ONLY) else f"fold {fold}" for fold in counts)]
        parts.append(page.table(header, ([name, *row] for name, row in _rows(counts))))
    if dataset.task == "regression":
        header = ["target", "mean", "standard deviation", "least", "greatest"]
        parts.append(page.table(header, ([name, *row] for name, row in _rows(describe_targets(usable, dataset)))))
    return parts


def duplicates_section(duplicates: pd.DataFrame, speakers: pd.DataFrame) -> list[str]:
    """Groups of copies, leaks first, and speakers in several folds."""
    parts = [page.heading("Clips that are there twice")]
    if duplicates.empty:
        parts.append(page.paragraph("No two usable clips have the same file, sound or face crops."))
    else:
        shown = duplicates.head(_MAX_ROWS)
        words = [", ".join(words for key, words in _FINDINGS.items() if row[key]) for row in shown.to_dict("records")]
        columns = shown[["match", "clip_id", "subject", "label_name", "test_fold"]].astype("object")
        columns = columns.where(columns.notna(), "")
        columns.insert(0, "finding", [finding or "copies" for finding in words])
        header = ["group", "finding", "the same", "clip", "speaker", "label", "test fold"]
        parts.append(page.table(header, zip(shown["group"].tolist(), *columns.to_dict("list").values(), strict=True)))
        parts += _left_out(duplicates, "duplicates")
    if len(speakers):
        rows = speakers.head(_MAX_ROWS).to_dict("split")["data"]
        parts += [
            page.heading("Speakers in several folds", 3),
            page.table(["speaker", "test folds", "clips"], rows),
        ]
    return parts


def histogram_section(figures: Iterable[Histogram]) -> list[str]:
    """Figures side by side."""
    pictures = "\n".join(
        f"<figure><h3>{figure.title}</h3>{page.image(figure.png, 'png', figure.alt)}</figure>" for figure in figures
    )
    return [page.heading("Distributions over usable clips"), f'<div class="wide">\n{pictures}\n</div>']


def sheet_section(sheets: Sequence[Sheet]) -> list[str]:
    """Contact sheets under each other."""
    parts = [page.heading("Contact sheets")]
    for sheet in sheets:
        parts += [page.heading(sheet.title, 3), page.paragraph(sheet.note, "note")]
        if sheet.pictures:
            parts.append(page.gallery((picture.caption, picture.jpeg) for picture in sheet.pictures))
    return parts


def reject_section(rejects: pd.DataFrame) -> list[str]:
    """Every rejected clip with its reason, folded."""
    if rejects.empty:
        return []
    rows = rejects.head(_MAX_ROWS)[["clip_id", "stage", "status", "reason"]].to_dict("split")["data"]
    table = page.table(["clip", "stage", "status", "reason"], rows)
    title = f"All {len(rejects):,} rejections, with reasons"
    return [page.heading("Rejected clips"), page.folded(title, "\n".join([table, *_left_out(rejects, "rejects")]))]


def _rows(frame: pd.DataFrame) -> Iterable[tuple[str, list[object]]]:
    table = frame.to_dict("split")
    return zip(table["index"], table["data"], strict=True)


def _left_out(rows: pd.DataFrame, what: str) -> list[str]:
    if len(rows) <= _MAX_ROWS:
        return []
    return [page.paragraph(f"{len(rows) - _MAX_ROWS:,} more rows are in the file of {what} beside this page.", "note")]
