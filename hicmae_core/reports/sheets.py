"""Contact sheets: faces that are good, typical and bad, and what rejected clips look like.

However large a dataset is, a sheet has few images: the index tells which clips are extreme, and sharpness and
brightness are measured on a fixed number of clips, evenly spread.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from hicmae_core.media.decoding import MediaError, probe, read_decoded_frames
from hicmae_core.media.frame_folder import middle_image
from hicmae_core.reports.outcome import PreparationOutcome
from hicmae_core.store.shards import ClipStore

NUM_LOOKED_AT = 400
"""Clips whose sharpness and brightness are measured."""

_PER_SHEET = 12
_PER_STATUS = 6
_PICTURE_SIZE = 160
_MEASURED_SIZE = 112
_LATEST_FRAME = 250
_NOT_OPENED_AGAIN = ("crashed", "timeout")


@dataclass(frozen=True)
class SheetPicture:
    """An image with a caption; `jpeg` is its file."""

    caption: str
    jpeg: bytes


@dataclass(frozen=True)
class Sheet:
    """Pictures under a title; `note` says what they have in common, or why there is none."""

    title: str
    note: str
    pictures: tuple[SheetPicture, ...]


def face_sheets(outcome: PreparationOutcome, store: ClipStore) -> list[Sheet]:
    """Middle crops of usable clips: the best, typical ones, and the worst in five ways."""
    faces = outcome.faces
    looked_at = _measured(faces.iloc[_spread(len(faces), NUM_LOOKED_AT)], store)
    where = "" if len(looked_at) == len(faces) else f", of {len(looked_at):,} clips inspected"
    best = faces.merge(outcome.usable[["clip_id", "subject"]], on="clip_id")
    best = best.sort_values(["coverage", "share", "face_size"], ascending=False, kind="stable")
    one_each = best[best["subject"].isna() | ~best["subject"].duplicated()]
    hidden, shared = faces[faces["coverage"] < 1], faces[faces["share"] < 1]
    chosen = (
        ("Best", "Seen in every frame, alone and large; one clip of each speaker.", one_each, "face_size"),
        ("Typical", "Evenly spread over all clips.", faces.iloc[_spread(len(faces), _PER_SHEET)], "coverage"),
        ("Worst: seen in few frames", "Lowest coverage.", hidden.nsmallest(_PER_SHEET, "coverage"), "coverage"),
        ("Worst: not alone", "Lowest share of all faces in view.", shared.nsmallest(_PER_SHEET, "share"), "share"),
        ("Worst: small", "Smallest face in the source.", faces.nsmallest(_PER_SHEET, "face_size"), "face_size"),
        (
            "Worst: blurred",
            f"Least fine detail{where}.",
            looked_at.nsmallest(_PER_SHEET, "sharpness"),
            "sharpness",
        ),
        ("Worst: dark", f"Lowest mean brightness{where}.", looked_at.nsmallest(_PER_SHEET, "brightness"), "brightness"),
    )
    return [
        Sheet(title, note if len(rows) else "None.", tuple(_faces(rows.head(_PER_SHEET), column, store)))
        for title, note, rows, column in chosen
    ]


def rejected_sheet(rejects: pd.DataFrame, root: Path) -> Sheet:
    """A frame of some rejected clips of each status, the middle one or the one at 250 if that is earlier.

    Clips at which a worker crashed or hung are not opened again.
    """
    dangerous = rejects.loc[rejects["status"].isin(_NOT_OPENED_AGAIN), "clip_id"]
    rows = rejects[~rejects["clip_id"].isin(dangerous)].drop_duplicates("clip_id")
    rows = rows.groupby(["stage", "status"], sort=False).head(_PER_STATUS)
    pictures = []
    for row in rows.to_dict("records"):
        try:
            picture = _middle_frame(root / row["video_path"])
        except MediaError:
            continue
        pictures.append(SheetPicture(f"{row['clip_id']}: {row['status']} ({row['stage']})", _as_jpeg(picture)))
    note = f"A frame of up to {_PER_STATUS} clips per reason, where the file can be opened."
    return Sheet("Rejected", note if pictures else "None that has an image.", tuple(pictures))


_UNITS = {
    "coverage": "{:.0%} of frames",
    "share": "{:.0%} of faces",
    "face_size": "{:.0f} px",
    "sharpness": "detail {:.3f}",
    "brightness": "brightness {:.0f} of 255",
}


def _faces(rows: pd.DataFrame, column: str, store: ClipStore) -> Iterator[SheetPicture]:
    for sample_id, value in zip(rows["sample_id"], rows[column], strict=True):
        yield SheetPicture(f"{sample_id}: {_UNITS[column].format(value)}", _as_jpeg(_middle_crop(sample_id, store)))


def _measured(rows: pd.DataFrame, store: ClipStore) -> pd.DataFrame:
    """Rows with ``brightness`` (mean grey value) and ``sharpness`` (energy of the Laplacian per grey variance)."""
    crops = [_middle_crop(sample_id, store) for sample_id in rows["sample_id"]]
    greys = [cv2.cvtColor(cv2.resize(crop, (_MEASURED_SIZE,) * 2), cv2.COLOR_RGB2GRAY) for crop in crops]
    sharpness = [cv2.Laplacian(grey, cv2.CV_64F).var() / max(grey.var(), 1.0) for grey in greys]
    return rows.assign(brightness=[float(grey.mean()) for grey in greys], sharpness=sharpness)


def _spread(num_rows: int, num_wanted: int) -> np.ndarray:
    """Positions of rows, evenly spread."""
    return np.unique(np.linspace(0, num_rows - 1, min(num_rows, num_wanted)).round().astype(np.int64))


def _middle_crop(sample_id: str, store: ClipStore) -> np.ndarray:
    frames = store[sample_id]["frames"]
    return np.asarray(Image.open(io.BytesIO(frames[len(frames) // 2].as_buffer()), formats=("JPEG",)))


def _middle_frame(path: Path) -> np.ndarray:
    """Raises: MediaError: If there is no such frame."""
    if os.path.isdir(path):
        return middle_image(path)
    position = min(probe(path).num_frames // 2, _LATEST_FRAME)
    for _, picture in islice(read_decoded_frames(path), position, None):
        return picture.rgb()
    raise MediaError(path, "unreadable", f"has no frame {position}")


def _as_jpeg(picture: np.ndarray) -> bytes:
    """A small JPEG of an RGB image."""
    image = Image.fromarray(picture)
    image.thumbnail((_PICTURE_SIZE, _PICTURE_SIZE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()
