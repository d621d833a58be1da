"""What became of the clips of a manifest: usable or rejected, where and why; histograms with descriptions in words."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hicmae_core.config import SAMPLE_RATE_HZ, DatasetParams, Modality
from hicmae_core.store.manifest import USABLE, among, counts_by_status

STAGES = ("manifest", "faces", "audio")
"""The steps of preparation, in order; faces or audio are left out where a dataset takes the other alone."""

TRAIN_ONLY = "train only"
"""What the clips that no fold tests have for a fold."""

_BLUE, _ORANGE = "#0072B2", "#D55E00"  # apart under colour blindness (Okabe and Ito)
_NUM_BINS = 40
_TAIL = 0.001


@dataclass(frozen=True)
class PreparationOutcome:
    """A manifest and its two stores, side by side.

    Attributes:
        steps: For each of `STAGES` its rows, with at least ``clip_id, status, reason``. A step that the dataset does
            without is not there. Faces and audio have rows for
            the clips that passed the manifest; ``clip_id`` is the manifest's also for faces, where a clip has several
            rows if each of its faces is a sample (then ``sample_id`` tells them apart).
        usable: The manifest's rows of the clips that have what the dataset takes, with ``seconds`` of audio, or of
            faces where it takes these alone.
        faces: The faces rows of the usable clips.
        rejects: ``clip_id, stage, status, reason, video_path`` of all that was rejected, in the order of `STAGES`.
    """

    steps: dict[str, pd.DataFrame]
    usable: pd.DataFrame
    faces: pd.DataFrame
    rejects: pd.DataFrame

    @property
    def funnel(self) -> dict[str, int]:
        """How many clips are left after each step."""
        names = {"manifest": "file and label good", "faces": "face found", "audio": "audio good"}
        passed = {
            names[stage]: rows.loc[rows["status"].isin(USABLE), "clip_id"].nunique()
            for stage, rows in self.steps.items()
        }
        return {"listed": len(self.steps["manifest"]), **passed, "usable": len(self.usable)}


def outcome_of(
    manifest: pd.DataFrame, faces_index: pd.DataFrame, audio_index: pd.DataFrame, modality: Modality = "both"
) -> PreparationOutcome:
    """Join a manifest with the indices of its faces and audio stores, of which one is empty with one `modality`.

    A clip of the manifest that a store does not know gets the status ``not_prepared``: the store is older.
    """
    passed = manifest.loc[manifest["status"].isin(USABLE), "clip_id"]
    faces = faces_index.rename(columns={"clip_id": "sample_id", "source": "clip_id"})
    stores = {"faces": (faces, "video"), "audio": (audio_index, "audio")}
    steps = {stage: _step(passed, rows) for stage, (rows, own) in stores.items() if modality in ("both", own)}
    good = {stage: rows[rows["status"].isin(USABLE)] for stage, rows in steps.items()}
    usable = manifest
    for rows in good.values():
        usable = usable[among(usable["clip_id"], rows["clip_id"])]
    faces = good.get("faces", faces.iloc[:0])
    if modality == "video":
        timed = faces.assign(seconds=faces["num_frames"] / faces["fps"])
    else:
        timed = good["audio"].assign(seconds=good["audio"]["num_samples"] / SAMPLE_RATE_HZ)
    seconds = timed.drop_duplicates("clip_id").set_index("clip_id")["seconds"]
    steps = {"manifest": manifest, **steps}
    return PreparationOutcome(
        steps,
        usable.assign(seconds=usable["clip_id"].map(seconds).astype("float64")),
        faces[among(faces["clip_id"], usable["clip_id"])],
        _rejects(steps),
    )


def _step(passed: pd.Series, rows: pd.DataFrame) -> pd.DataFrame:
    """A store's rows of the clips that came so far."""
    rows = rows[among(rows["clip_id"], passed)]
    forgotten = passed[~among(passed, rows["clip_id"])]
    if forgotten.empty:
        return rows
    reason = "the manifest is newer than the store; prepare this dataset again"
    absent = pd.DataFrame({"clip_id": forgotten, "status": "not_prepared", "reason": reason})
    return pd.concat([rows, absent], ignore_index=True)


def _rejects(steps: dict[str, pd.DataFrame]) -> pd.DataFrame:
    paths = steps["manifest"].set_index("clip_id")["video_path"]
    parts = []
    for stage, rows in steps.items():
        bad = rows.loc[~rows["status"].isin(USABLE), ["clip_id", "status", "reason"]]
        parts.append(bad.assign(stage=stage, video_path=bad["clip_id"].map(paths)))
    return pd.concat(parts, ignore_index=True)[["clip_id", "stage", "status", "reason", "video_path"]]


def count_labels(usable: pd.DataFrame, dataset: DatasetParams) -> dict[str, pd.DataFrame]:
    """Usable clips per class (rows) and test fold (columns), with sums: a table for each classified target.

    The key of the only target is empty. Clips without a test fold, which are always trained on, are in the column
    `TRAIN_ONLY`. Regression and unlabelled data have a single row, ``all clips``.
    """
    folds = fold_names(usable)
    if dataset.task == "multi_classification":
        columns = {target: usable[f"target_{target}"] for target in dataset.targets}
    else:
        columns = {"": usable["label"]}
    tables = {}
    for target, ids in columns.items():
        if dataset.classes:
            names = ids.astype("Int64").map(dict(enumerate(dataset.classes)))
        else:
            names = pd.Series("all clips", usable.index)
        table = pd.crosstab(names, folds).reindex(dataset.classes or ("all clips",), fill_value=0)
        in_order = sorted(map(str, table.columns), key=lambda fold: (fold == TRAIN_ONLY, len(fold), fold))
        tables[target] = table[in_order].assign(all=table.sum(axis=1))
    return tables


def fold_names(clips: pd.DataFrame) -> pd.Series:
    """Each clip's test fold as text."""
    return clips["test_fold"].astype("Int64").astype("str").where(clips["test_fold"].notna(), TRAIN_ONLY)


def describe_targets(usable: pd.DataFrame, dataset: DatasetParams) -> pd.DataFrame:
    """Mean, standard deviation, least and greatest value of each regression target."""
    values = usable[[f"target_{target}" for target in dataset.targets]].astype("float64")
    table = values.agg(["mean", "std", "min", "max"]).T
    return table.set_axis(list(dataset.targets), axis="index")


def numbers(outcome: PreparationOutcome, duplicates: pd.DataFrame, speakers: pd.DataFrame) -> dict[str, Any]:
    """The report's numbers, for a metrics file.

    Args:
        outcome: The dataset.
        duplicates: From `duplicates.find_duplicates`.
        speakers: From `duplicates.speakers_in_several_folds`.
    """
    usable, groups = outcome.usable, duplicates.drop_duplicates("group")
    return {
        "num_clips": len(outcome.steps["manifest"]),
        "num_usable": len(usable),
        "num_speakers": int(usable["subject"].nunique()),
        "hours": round(float(usable["seconds"].sum()) / 3600, 4),
        **{f"{stage}_status": counts_by_status(rows) for stage, rows in outcome.steps.items()},
        "duplicates": {
            "num_clips": int(duplicates["clip_id"].nunique()),
            "num_groups": len(groups),
            "num_groups_in_different_folds": int(groups["different_folds"].sum()),
            "num_groups_with_different_labels": int(groups["different_labels"].sum()),
            "num_groups_with_different_speakers": int(groups["different_speakers"].sum()),
        },
        "num_speakers_in_several_folds": len(speakers),
    }


@dataclass(frozen=True)
class Histogram:
    """A figure: `png` is its file, `alt` says the same in words."""

    title: str
    alt: str
    png: bytes


def histograms(outcome: PreparationOutcome) -> list[Histogram]:
    """Coverage, face size, frame rate and duration of the usable clips, from the index columns alone."""
    faces = outcome.faces
    figures = (
        ("Coverage", "share of frames in which the face is seen", faces["coverage"], (0.0, 1.0)),
        ("Share", "share of the face among all faces in view", faces["share"], (0.0, 1.0)),
        ("Face size", "side of the face in the source, pixels", faces["face_size"], None),
        ("Duration", "seconds of audio", outcome.usable["seconds"], None),
        ("Frame rate", "frames per second", faces["fps"], None),
    )
    known = ((title, unit, values.dropna(), limits) for title, unit, values, limits in figures)
    return [_histogram(title, unit, values, limits) for title, unit, values, limits in known if len(values)]


def _histogram(title: str, unit: str, values: pd.Series, limits: tuple[float, float] | None) -> Histogram:
    """Without given limits, values of the outermost thousandth are counted at the ends."""
    data = values.to_numpy(dtype=np.float64)
    low, quarter, median, three_quarters, high = np.quantile(data, (0, 0.25, 0.5, 0.75, 1))
    alt = (
        f"{title} of {len(data):,}: {unit}; median {median:.4g}, the middle half from {quarter:.4g} to "
        f"{three_quarters:.4g}, all from {low:.4g} to {high:.4g}"
    )
    first, last = limits or np.quantile(data, (_TAIL, 1 - _TAIL))
    if last - first < 1e-6 * max(abs(last), 1.0):
        first, last = first - 0.5, last + 0.5
    counts, edges = np.histogram(data.clip(first, last), bins=_NUM_BINS, range=(first, last))
    figure = Figure(figsize=(4.2, 2.3), layout="constrained")
    axes = figure.subplots()
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=_BLUE)
    axes.axvline(median, color=_ORANGE, linestyle="--", linewidth=1.5, label=f"median {median:.4g}")
    axes.set_xlabel(unit, fontsize=9)
    axes.set_ylabel("number", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return Histogram(title, alt, stream.getvalue())
