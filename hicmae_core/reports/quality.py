"""The quality report of a prepared dataset: one self-contained HTML page, and tables and numbers for programs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.files import atomic_path, write_json, write_text
from hicmae_core.reports.duplicates import find_duplicates, speakers_in_several_folds
from hicmae_core.reports.outcome import (
    TRAIN_ONLY,
    Histogram,
    Outcome,
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

_FINDINGS = {
    "different_folds": "LEAK: in different folds",
    "different_labels": "different labels",
    "different_speakers": "different speakers",
}
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 68rem; margin: 0 auto;
  padding: 1rem 1.5rem 3rem; }
h1, h2, h3 { line-height: 1.25; margin: 1.6em 0 0.4em; }
h1 { margin-top: 0.5em; }
table { border-collapse: collapse; margin: 0.6em 0; font-size: 0.92rem; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25em 0.8em 0.25em 0; text-align: left; vertical-align: top;
  overflow-wrap: break-word; max-width: 40rem; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.sheet { display: flex; flex-wrap: wrap; gap: 0.7rem; }
figure { margin: 0; }
.sheet figure { width: 128px; }
.sheet img { width: 128px; height: auto; display: block; border-radius: 4px; }
figcaption { font-size: 0.75rem; color: #444; overflow-wrap: anywhere; }
.wide { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; }
.wide img { max-width: 100%; height: auto; }
.warning { border-left: 5px solid #b3261e; background: #fdecea; padding: 0.6em 1em; }
.good { border-left: 5px solid #1b7f4d; background: #eaf6ef; padding: 0.6em 1em; }
.note { color: #444; margin: 0.2em 0 0.6em; }
summary { cursor: pointer; font-weight: 600; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    line = verdict(name, outcome, duplicates, speakers)
    parts = [
        paragraph(line, "warning" if len(duplicates) or len(speakers) else "good"),
        *outcome_section(outcome),
        *label_section(outcome.usable, dataset),
        *duplicates_section(duplicates, speakers),
        *histogram_section(histograms(outcome)),
        *sheet_section([*face_sheets(outcome, faces), rejected_sheet(outcome.rejects, root)]),
        *reject_section(outcome.rejects),
    ]
    for table, rows in (("duplicates", duplicates), ("rejects", outcome.rejects)):
        with atomic_path(out_dir / f"{name}-{table}.csv") as temporary:
            rows.to_csv(temporary, index=False)
    write_text(out_dir / f"{name}.html", page(f"Quality of the prepared dataset {name}", parts))
    write_json(metrics_path, summary)
    return line


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
        heading("What became of the clips"),
        table(["passed", "clips", "of all"], funnel),
        paragraph(f"Usable: {outcome.usable['seconds'].sum() / 3600:,.2f} hours, {speakers}."),
        heading("By status", 3),
        table(["stage", "status", "number", "example"], statuses),
    ]


def label_section(usable: pd.DataFrame, dataset: DatasetParams) -> list[str]:
    """Usable clips per class or target and test fold."""
    if dataset.task == "unlabelled":
        return []
    parts = [heading("Usable clips by label and test fold")]
    for target, counts in count_labels(usable, dataset).items():
        header = [target, *(fold if fold in ("all", TRAIN_ONLY) else f"fold {fold}" for fold in counts)]
        parts.append(table(header, ([name, *row] for name, row in _rows(counts))))
    if dataset.task == "regression":
        header = ["target", "mean", "standard deviation", "least", "greatest"]
        parts.append(table(header, ([name, *row] for name, row in _rows(describe_targets(usable, dataset)))))
    return parts


def duplicates_section(duplicates: pd.DataFrame, speakers: pd.DataFrame) -> list[str]:
    """Groups of copies, leaks first, and speakers in several folds."""
    parts = [heading("Clips that are there twice")]
    if duplicates.empty:
        parts.append(paragraph("No two usable clips have the same file, sound or face crops."))
    else:
        shown = duplicates.head(_MAX_ROWS)
        words = [", ".join(words for key, words in _FINDINGS.items() if row[key]) for row in shown.to_dict("records")]
        columns = shown[["match", "clip_id", "subject", "label_name", "test_fold"]].astype("object")
        columns = columns.where(columns.notna(), "")
        columns.insert(0, "finding", [finding or "copies" for finding in words])
        header = ["group", "finding", "the same", "clip", "speaker", "label", "test fold"]
        parts.append(table(header, zip(shown["group"].tolist(), *columns.to_dict("list").values(), strict=True)))
        parts += _left_out(duplicates, "duplicates")
    if len(speakers):
        rows = speakers.head(_MAX_ROWS).to_dict("split")["data"]
        parts += [
            heading("Speakers in several folds", 3),
            table(["speaker", "test folds", "clips"], rows),
        ]
    return parts


def histogram_section(figures: Iterable[Histogram]) -> list[str]:
    """Figures side by side."""
    pictures = "\n".join(
        f"<figure><h3>{figure.title}</h3>{image(figure.png, 'png', figure.alt)}</figure>" for figure in figures
    )
    return [heading("Distributions over usable clips"), f'<div class="wide">\n{pictures}\n</div>']


def sheet_section(sheets: Sequence[Sheet]) -> list[str]:
    """Contact sheets under each other."""
    parts = [heading("Contact sheets")]
    for sheet in sheets:
        parts += [heading(sheet.title, 3), paragraph(sheet.note, "note")]
        if sheet.pictures:
            parts.append(gallery((picture.caption, picture.jpeg) for picture in sheet.pictures))
    return parts


def reject_section(rejects: pd.DataFrame) -> list[str]:
    """Every rejected clip with its reason, folded."""
    if rejects.empty:
        return []
    rows = rejects.head(_MAX_ROWS)[["clip_id", "stage", "status", "reason"]].to_dict("split")["data"]
    rows_shown = table(["clip", "stage", "status", "reason"], rows)
    title = f"All {len(rejects):,} rejections, with reasons"
    return [
        heading("Rejected clips"),
        folded(title, "\n".join([rows_shown, *_left_out(rejects, "rejects")])),
    ]


def _rows(frame: pd.DataFrame) -> Iterable[tuple[str, list[object]]]:
    table = frame.to_dict("split")
    return zip(table["index"], table["data"], strict=True)


def _left_out(rows: pd.DataFrame, what: str) -> list[str]:
    if len(rows) <= _MAX_ROWS:
        return []
    return [paragraph(f"{len(rows) - _MAX_ROWS:,} more rows are in the file of {what} beside this page.", "note")]


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page from pieces of HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is ``warning``, ``good``, ``note`` or nothing."""
    return f"<p class={kind}>{escape(text)}</p>" if kind else f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers are right-aligned, integers with separators of thousands."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    return f"<td>{escape(str(value))}</td>"


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{content}\n</details>"


def image(data: bytes, kind: str, alt: str) -> str:
    """A picture within the page; `kind` is ``jpeg`` or ``png``."""
    return f'<img src="data:image/{kind};base64,{b64encode(data).decode()}" alt="{escape(alt)}">'


def gallery(pictures: Iterable[tuple[str, bytes]]) -> str:
    """JPEGs side by side, each with its caption, which is its description too."""
    figures = (
        f"<figure>{image(data, 'jpeg', caption)}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, data in pictures
    )
    return '<div class="sheet">\n' + "\n".join(figures) + "\n</div>"
