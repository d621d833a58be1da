"""The manifest of a dataset: one row per clip, with its label, fold, media facts and what is wrong with it.

A unit of evaluation is a clip, or all clips that a corpus cut out of one recording, such as those of a participant's
task in AVCAFFE. Clips are trained on and predicted; the predictions of a unit's clips are averaged before they are
scored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hicmae_core.config import DatasetParams, Modality
from hicmae_core.files import atomic_path

COLUMN_TYPES = {
    "clip_id": "str",
    "video_path": "str",
    "audio_path": "str",
    "subject": "str",
    "unit": "str",
    "group": "str",
    "label": "Int64",
    "label_name": "str",
    "test_fold": "Int64",
    "fps": "float64",
    "num_frames": "Int64",
    "duration_seconds": "float64",
    "sha256": "str",
    "audio_sha256": "str",
    "status": "str",
    "reason": "str",
}
MANIFEST_COLUMNS = tuple(COLUMN_TYPES)
"""Paths are relative to the raw folder; ``unit`` names what is scored as one, the clip itself or a group of clips
(`hicmae_core.store.manifest`); ``group`` is the speaker's, such as the sex, by which results are also reported;
``label`` is the class id; ``sha256`` is the video file's and ``audio_sha256``
that of the file with the audio, often the same; ``status`` is ``ok`` or a short code, explained by ``reason``. Each
target adds a column ``target_<name>``: floats for regression, class ids where several targets are classified."""

USABLE = ("ok", "damaged", "low_coverage", "frozen_face", "low_share")
"""Statuses of clips that are kept."""
LEFT_OUT = ("known_broken", "tied_label")
"""Statuses of clips that a corpus's adapter leaves out knowingly; they count as no rejects."""


def write_manifest(path: Path, manifest: pd.DataFrame) -> None:
    """Write a manifest as Parquet, whole or not at all."""
    with atomic_path(path) as temporary:
        manifest.to_parquet(temporary, index=False)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote; a clip without a unit is its own, and older manifests know no groups.

    Raises:
        ValueError: If there is no such file or it is no manifest.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no manifest there; make it with `python -m stages.manifest`")
    manifest = pd.read_parquet(path)
    if "group" not in manifest:
        manifest["group"] = pd.Series(None, manifest.index, dtype="str")
    missing = [column for column in MANIFEST_COLUMNS if column not in manifest]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; make it again with `python -m stages.manifest`")
    return manifest.assign(unit=manifest["unit"].fillna(manifest["clip_id"]))


def prepared_of(manifest: pd.DataFrame, dataset: DatasetParams, modality: Modality) -> pd.DataFrame:
    """The rows of which faces (``video``) or audio (``audio``) are prepared: none where the dataset takes the other."""
    return manifest if dataset.modality in ("both", modality) else manifest.iloc[:0]


def counts_by_status(rows: pd.DataFrame) -> dict[str, int]:
    """How many clips have each status, ``ok`` first, then the most frequent."""
    counts = {str(status): int(count) for status, count in rows["status"].value_counts().items()}
    return {"ok": counts.pop("ok", 0), **counts}


def speakers_in_words(rows: pd.DataFrame, labelled: bool) -> str:
    """How many speakers a manifest's clips have, and what follows for labelled ones where that is not known of all."""
    unknown, number = int(rows["subject"].isna().sum()), rows["subject"].nunique()
    if not number:
        return "speakers: unknown" + " (no speaker-leak check; intervals are over clips)" * labelled
    text = f"{number} speaker{'s' * (number != 1)}"
    if unknown:
        text += f"; {unknown} clips of unknown speakers"
        text += " (no speaker-leak check for these; each counts as a speaker of its own)" * labelled
    return text


def units_in_words(rows: pd.DataFrame) -> str:
    """How many units a manifest's clips have, however many clips each has; empty where each clip is its own unit."""
    if (rows["unit"] == rows["clip_id"]).all():
        return ""
    return f"; {rows['unit'].nunique()} units, each scored as one"


def check_rejects(rows: pd.DataFrame, max_reject_fraction: float, source: str, waived: Collection[str] = ()) -> None:
    """Stop where too many clips are rejected.

    Args:
        rows: Clips with ``clip_id``, ``status`` and ``reason``.
        max_reject_fraction: Largest share of clips whose status is not `USABLE`.
        source: What the clips are, for the message.
        waived: Further statuses that do not count, besides `LEFT_OUT`.

    Raises:
        ValueError: With the counts per status and an example of each.
    """
    rows = rows[~rows["status"].isin([*LEFT_OUT, *waived])]
    rejects = rows[~rows["status"].isin(USABLE)]
    if len(rejects) <= max_reject_fraction * len(rows):
        return
    examples = [
        f"  {len(group)} {status}, such as {group['clip_id'].iloc[0]}: {group['reason'].iloc[0]}"
        for status, group in rejects.groupby("status")
    ]
    raise ValueError(
        f"{source}: {len(rejects)} of {len(rows)} clips are rejected, more than preparation.max_reject_fraction "
        f"{max_reject_fraction} allows; fix the files, or raise it\n" + "\n".join(examples)
    )


def among(ids: pd.Series, others: pd.Series | Sequence[str]) -> np.ndarray:
    """Which of `ids` are in `others`, as ``ids.isin(others)`` has it, but at once for millions of strings."""
    result: np.ndarray = pc.is_in(pa.array(ids, pa.large_string()), pa.array(others, pa.large_string())).to_numpy(
        zero_copy_only=False
    )
    return result


class Units:
    """The units of a table of clips, in the order of their first clips.

    Attributes:
        of_clip: Each clip's unit, by its number from 0, ``[num_clips]``.
        first: The place of each unit's first clip, ``[num_units]``.

    Args:
        names: Each clip's unit.
    """

    def __init__(self, names: Sequence[object]) -> None:
        self.of_clip: NDArray[np.int64] = pd.factorize(np.asarray(list(names), dtype="object"))[0].astype(np.int64)
        self.first: NDArray[np.int64] = np.unique(self.of_clip, return_index=True)[1].astype(np.int64)

    @property
    def are_clips(self) -> bool:
        """Whether each clip is a unit of its own."""
        return len(self.first) == len(self.of_clip)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means over each unit's clips: ``[num_clips, ...]`` to ``[num_units, ...]``; of clips, the values as given."""
        if self.are_clips:
            return values
        sums = np.zeros((len(self.first), *values.shape[1:]))
        np.add.at(sums, self.of_clip, values)
        counts = np.bincount(self.of_clip).astype(np.float64)
        return sums / counts.reshape(-1, *(1,) * (values.ndim - 1))
