"""Reports as Markdown, rendered from results records (`results.results_record`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hicmae_core.corpora.published import CLASSES
from hicmae_core.evaluation.fold_results import CLIP
from hicmae_core.evaluation.metrics import title

Record = Mapping[str, Any]

_IN_TARGET_UNITS = ("rmse", "mae")
_MODALITIES = {"both": "video and audio", "video": "the video", "audio": "the audio"}


def escaped(text: str) -> str:
    """A name that a user chose, as Markdown that shows it as it is, also in a table's cell.

    Underscores within words mean nothing in Markdown and stay.
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*|\[\]~$#!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def is_percent(metric: str) -> bool:
    """Whether reports print a metric in percent; errors are in units of their target."""
    return metric.split("_")[0] not in _IN_TARGET_UNITS


def show(metric: str, value: float) -> str:
    """A metric's value as reports print it: percent, or target units for errors."""
    return f"{100 * value:.2f}" if is_percent(metric) else f"{value:.3f}"


def results_markdown(record: Record) -> str:
    """The report of one dataset."""
    parts = [
        f"# Results on {record['dataset']}{_drawn(record)}",
        _introduction(record),
        _metrics_table(record),
        _interval_note(record),
        *_alone(record),
        *_by_group(record),
    ]
    if record["targets"]:
        parts += ["## Per target", f"Pooled test {_scored(record)}, with their intervals.", _target_table(record)]
    if record["classes"]:
        parts += ["## Confusion", f"Pooled test {_scored(record)}: rows are actual classes, columns predicted ones."]
        parts += [_confusion_table(record, name) for name in record["targets"] or [""]]
    parts += ["![Actual against predicted](confusion.png)", "![Metrics per fold](folds.png)"]
    parts += ["![Spread over folds](boxes.png)"]
    parts += ["## Published numbers", _published_section(record)]
    return "\n\n".join(parts) + "\n"


def short_markdown(record: Record) -> str:
    """One dataset's results in a few lines: the pooled metrics, each fold's beside them, and what was tested."""
    pooled = ", ".join(f"{title(name)} {_pooled_and_interval(record, name)}" for name in record["headline"])
    level = f", with {_level(record)} intervals" if record["low"] else ""
    first = f"**{pooled}**: pooled{level}{_drawn(record)}."
    return "\n\n".join([first, _metrics_table(record), _introduction(record), _interval_note(record)])


def overview_markdown(records: Sequence[Record]) -> str:
    """The report over datasets: a row each, with the metrics published for the first system of its class, or two."""
    header = ["dataset", "folds", "scored", "metrics", "over folds", "pooled", "published"]
    rows = []
    for record in records:
        published = next((r for r in record["published"] if r["system_class"] == record["system_class"]), None)
        metrics = [name for name in (published["percent"] if published else ()) if name in record["pooled"]]
        metrics = metrics or record["headline"][:2]
        rows.append(
            [
                f"[{record['dataset']}](reports/{record['dataset']}/results.md){_drawn(record)}",
                f"{len(record['folds'])} of {record['num_folds']}",
                f"{record['num_clips' if _by_clip(record) else 'num_units']:,} {_scored(record)}",
                " / ".join(title(name) for name in metrics),
                " / ".join(_mean_and_deviation(record, name) for name in metrics),
                " / ".join(_pooled_and_interval(record, name) for name in metrics),
                f"{' / '.join(_percent(published, name) for name in metrics)} ({published['system']})"
                if published
                else "none",
            ]
        )
    introduction = (
        "Mean ± standard deviation over folds, and all that was tested, pooled, with its bootstrap interval, in %."
    )
    return "\n\n".join(["# Results", introduction, _table(header, rows)]) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _introduction(record: Record) -> str:
    subjects = f"{record['num_subjects']:,} known subjects" if record["num_subjects"] else "unknown subjects"
    folds = f"{len(record['folds'])} of {record['num_folds']} folds"
    text = f"{tested(record)} of {subjects} in {folds}; {_scoring(record)}. {_looked_at(record)} "
    means = "Means over the targets: " if record["targets"] else ""
    if record["task"] == "regression":
        return f"{text}{means}PCC and CCC in %, RMSE and MAE in units of the targets."
    num_classes = len(record["classes"])
    metrics = f"{means}metrics" if means else "Metrics"
    return f"{text}{metrics} in %; guessing among {num_classes} classes has a UAR of {100 / num_classes:.2f}."


def tested(record: Record) -> str:
    """How much was tested: clips, or units of how many clips."""
    clips = f"{record['num_clips']:,} test clips"
    return clips if _by_clip(record) else f"{record['num_units']:,} units ({record['unit']}) of {clips}"


def _by_clip(record: Record) -> bool:
    """Whether each clip was scored by itself, as in records from before there were units."""
    return bool(record.get("unit", CLIP) == CLIP)


def _scored(record: Record) -> str:
    """What the numbers count."""
    return "clips" if _by_clip(record) else "units"


def _scoring(record: Record) -> str:
    if _by_clip(record):
        return "each clip was scored by itself"
    what = "outputs" if record["task"] == "regression" else "probabilities"
    return f"each unit was scored once: the {what} of its clips are averaged"


def _drawn(record: Record, of: str = "shown") -> str:
    """A note behind drawn faces that were ``shown``, or trained on (``modality``); older records have none."""
    return " (drawn faces)" if record.get("face_source") == "drawn" and record[of] != "audio" else ""


def _looked_at(record: Record) -> str:
    """Which labels, and which modalities, the numbers are about."""
    trained, shown = _MODALITIES[record["modality"]], _MODALITIES[record["shown"]]
    labels = f"Labels: {record['labels']}. " if record["labels"] else ""
    but = "" if record["shown"] == record["modality"] else f", shown {shown} alone (zeros in the other's place)"
    return f"{labels}Models trained on {trained}{_drawn(record, 'modality')}{but}."


def _metrics_table(record: Record) -> str:
    names = record["headline"]
    rows = [
        [f"fold {fold}", f"{record['units_by_fold'][fold]:,}", *(show(name, metrics[name]) for name in names)]
        for fold, metrics in record["folds"].items()
    ]
    over_folds = "mean ± standard deviation over folds" if record["std"] else "mean over folds"
    rows.append([over_folds, "", *(_mean_and_deviation(record, name) for name in names)])
    rows.append(["pooled", f"{record['num_units']:,}", *(show(name, record["pooled"][name]) for name in names)])
    if record["low"]:
        rows.append([f"{_level(record)} interval of pooled", "", *(_interval(record, name) for name in names)])
    return _table([_drawn(record).strip(), _scored(record), *(title(name) for name in names)], rows)


def _interval_note(record: Record) -> str:
    if not record["low"]:
        return "No interval: a single subject says nothing about others."
    what = _scored(record)
    drawn = f"subjects (of {what}, where the subject is unknown)" if record["num_subjects"] else what
    return f"The {_level(record)} interval is that of {record['bootstrap_samples']:,} bootstrap resamples of {drawn}."


def _alone(record: Record) -> list[str]:
    """What the same models do with one modality, where they were shown it alone."""
    shown = record.get("alone")
    if not shown:
        return []
    names = record["headline"]
    alone = {_MODALITIES[one] + " alone": {**record, **found, "shown": one} for one, found in shown.items()}
    rows = [
        [what + _drawn(found), *(_pooled_and_interval(found, name) for name in names)]
        for what, found in {_MODALITIES["both"]: record, **alone}.items()
    ]
    return [
        "The same models shown one modality, with zeros in the other's place, pooled:",
        _table(["shown", *(title(name) for name in names)], rows),
    ]


def _by_group(record: Record) -> list[str]:
    """What the models do with each group of speakers, where the corpus tells of groups."""
    groups = record.get("by_group")
    if not groups:
        return []
    names = record["headline"]
    rows = [
        [escaped(group), *(_pooled_and_interval({**record, **found}, name) for name in names)]
        for group, found in groups.items()
    ]
    return ["By group of speakers, pooled:", _table(["group", *(title(name) for name in names)], rows)]


def _level(record: Record) -> str:
    return f"{100 * record['confidence']:g} %"


def _mean_and_deviation(record: Record, name: str) -> str:
    mean = show(name, record["mean"][name])
    return f"{mean} ± {show(name, record['std'][name])}" if record["std"] else mean


def _interval(record: Record, name: str) -> str:
    return f"{show(name, record['low'][name])} – {show(name, record['high'][name])}"


def _pooled_and_interval(record: Record, name: str) -> str:
    value = show(name, record["pooled"][name])
    return f"{value} ({_interval(record, name)})" if record["low"] else value


def _confusion_table(record: Record, target: str) -> str:
    confusion = record[f"confusion_{target}" if target else "confusion"]
    rows = []
    for index, (name, counts) in enumerate(zip(record["classes"], confusion, strict=True)):
        recall = f"{100 * counts[index] / sum(counts):.2f}" if sum(counts) else "–"
        rows.append([escaped(name), *(f"{count:,}" for count in counts), recall])
    return _table([f"actual {escaped(target)}".strip(), *map(escaped, record["classes"]), "recall, %"], rows)


def _target_table(record: Record) -> str:
    rows = [
        [escaped(name), *(_pooled_and_interval(record, f"{metric}_{name}") for metric in record["headline"])]
        for name in record["targets"]
    ]
    return _table(["target", *(title(metric) for metric in record["headline"])], rows)


def _published_section(record: Record) -> str:
    """A table per class of system, ours among its own; or why there is none."""
    if record["not_comparable"]:
        return str(record["not_comparable"])
    if not record["published"]:
        return f"There are no published numbers for `{record['dataset']}`."
    metrics = list(dict.fromkeys(name for result in record["published"] for name in result["percent"]))
    by = max(metrics, key=lambda name: sum(name in result["percent"] for result in record["published"]))
    parts = [f"Like beside like: in each class ours come first, then the others by {title(by)}, the highest first."]
    header = ["system", "year", "modality", "parameters, M", *(title(name) for name in metrics), "source"]
    for system_class in CLASSES:
        of_class = [result for result in record["published"] if result["system_class"] == system_class]
        of_class.sort(key=lambda result: result["percent"].get(by, 0), reverse=True)
        rows = _our_rows(record, metrics) if system_class == record["system_class"] else []
        rows += [row for result in of_class for row in _published_rows(result, metrics)]
        if rows:
            parts += [f"### {system_class[0].upper()}{system_class[1:]}", _table(header, rows)]
    return "\n\n".join(parts)


def _our_rows(record: Record, metrics: Sequence[str]) -> list[list[str]]:
    ours = {"ours, pooled": _pooled_and_interval, "ours, over folds": _mean_and_deviation}
    trained, shown = record["modality"], record["shown"]
    modality = f"{trained}{_drawn(record, 'modality')}" + ("" if shown == trained else f", {shown} shown")
    return [
        [label, "", modality, "", *(cell(record, name) if name in record["pooled"] else "–" for name in metrics), ""]
        for label, cell in ours.items()
    ]


def _published_rows(result: Record, metrics: Sequence[str]) -> list[list[str]]:
    """A system's row, and one for each fold that is known."""
    millions = "–" if result["parameters_millions"] is None else f"{result['parameters_millions']:g}"
    source = f"{result['source']} ({result['note']})" if result["note"] else result["source"]
    values = [_percent(result, name) for name in metrics]
    rows = [[result["system"], str(result["year"]), result["modality"] or "–", millions, *values, source]]
    for fold, fold_values in enumerate(zip(*result["folds"].values(), strict=True), start=1):
        by_name = dict(zip(result["folds"], fold_values, strict=True))
        cells = [_percent({"percent": by_name}, name) for name in metrics]
        rows.append([f"{result['system']}, fold {fold}", "", "", "", *cells, ""])
    return rows


def _percent(result: Record, name: str) -> str:
    return f"{result['percent'][name]:.2f}" if name in result["percent"] else "–"
