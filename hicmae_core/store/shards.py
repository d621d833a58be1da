"""Clips in a few large Arrow files: constant-time access by clip id, however many clips there are.

A store is a folder of ``shard-00000-of-00004.feather`` files and an ``index.parquet``. A shard is an uncompressed Arrow
IPC ("feather v2") file with one record batch per clip of the manifest, sorted by clip id; the clips that could not be
prepared are there, too, with an empty payload. A batch has a row per sample: one, or several where each face of a clip
is a sample of its own. Shards are memory-mapped, so reading a clip touches only that clip's bytes, and
``pandas.read_feather`` opens them. The index is derived from the shards: every column but the payload, and the place.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hicmae_core.config import NUM_MEL_BINS
from hicmae_core.store.manifest import USABLE

INDEX_NAME = "index.parquet"

FACES_SCHEMA = pa.schema(
    {
        "clip_id": pa.string(),
        "source": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        "fps": pa.float64(),
        "num_frames": pa.int64(),
        "start_seconds": pa.float64(),
        "coverage": pa.float64(),
        "share": pa.float64(),
        "face_size": pa.float64(),
        "num_faces": pa.int64(),
        "digest": pa.string(),
        "key": pa.string(),
        "frames": pa.list_(pa.binary()),
    }
)
"""A sample's face crops, one JPEG (RGB, square) per video frame.

``clip_id`` names the sample: the clip, or ``<clip>#1``, ``<clip>#2`` where each face is a sample; ``source`` is the
manifest's clip id. ``start_seconds`` is where the sample starts in the clip, ``face_size`` the median side of the face
in the video, pixels, ``digest`` the SHA-256 of the crops, ``key`` that of everything which determines the row.
"""

FBANK_TYPE = pa.list_(pa.list_(pa.float16(), NUM_MEL_BINS))

AUDIO_SCHEMA = pa.schema(
    {
        "clip_id": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        "num_samples": pa.int64(),
        "digest": pa.string(),
        "key": pa.string(),
        "fbank": FBANK_TYPE,
    }
)
"""A clip's un-normalised log-mel frames ``[time, 128]`` and the number of 16 kHz samples they come from.

``digest`` is the SHA-256 of the waveform as 16-bit integers, ``key`` that of everything which determines the row.
"""

PLACE_SCHEMA = pa.schema({"shard": pa.int32(), "batch": pa.int32(), "row": pa.int32()})
"""Where a sample is: the columns that the index has beside the small ones of the shards."""


def shard_of(clip_id: str, num_shards: int) -> int:
    """The shard that a clip lives in: the same on every machine, whichever other clips there are."""
    return int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "big") % num_shards


def shard_name(shard: int, num_shards: int) -> str:
    """A shard's file name."""
    return f"shard-{shard:05d}-of-{num_shards:05d}.feather"


class ClipStore:
    """Read access to a folder of shards.

    Files are mapped when first needed, and again in each process that a store is pickled to.

    Attributes:
        folder: The store's folder.
        clip_ids: Ids of the samples that can be used, sorted.

    Raises:
        ValueError: If the folder has no index, or one of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX_NAME).is_file():
            raise ValueError(f"{self.folder}: no {INDEX_NAME} there; prepare this dataset first")
        places = pd.read_parquet(self.folder / INDEX_NAME, columns=["clip_id", "status", *PLACE_SCHEMA.names])
        usable = places[places["status"].isin(USABLE)]
        self._positions = pd.Index(usable["clip_id"])
        self._places = usable[PLACE_SCHEMA.names].to_numpy()
        self._readers: dict[int, pa.ipc.RecordBatchFileReader] = {}

    @cached_property
    def index(self) -> pd.DataFrame:
        """A row per sample, rejected ones included: all columns but the payload, and ``shard, batch, row``."""
        return pd.read_parquet(self.folder / INDEX_NAME)

    @cached_property
    def usual_fps(self) -> float | None:
        """Frame rate of the samples that can be used: their median, of two the lower; None if none has any."""
        rates = pd.read_parquet(self.folder / INDEX_NAME, columns=["status", "fps"])
        usual = rates.loc[rates["status"].isin(USABLE), "fps"].quantile(interpolation="lower")
        return None if pd.isna(usual) else float(usual)

    @cached_property
    def clip_ids(self) -> list[str]:
        """Ids of the samples that can be used, sorted."""
        return list(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._positions

    def __getitem__(self, clip_id: str) -> dict[str, Any]:
        """A sample's row; its payload is an Arrow array that still lies in the mapped file.

        Raises:
            KeyError: If the store has no usable sample of this id.
        """
        try:
            shard, batch, row = self._places[self._positions.get_loc(clip_id)].tolist()
        except KeyError:
            raise KeyError(f"{self.folder}: no clip {clip_id!r} with content") from None
        columns = self._reader(shard).get_batch(batch)
        cells = {name: column[row] for name, column in zip(columns.schema.names, columns.columns, strict=True)}
        return {name: cell.values if isinstance(cell, pa.ListScalar) else cell.as_py() for name, cell in cells.items()}

    def __getstate__(self) -> Path:
        return self.folder

    def __setstate__(self, folder: Path) -> None:
        self.__init__(folder)  # type: ignore[misc]

    def _reader(self, shard: int) -> pa.ipc.RecordBatchFileReader:
        if shard not in self._readers:
            paths = sorted(self.folder.glob(f"shard-{shard:05d}-of-*.feather"))
            if len(paths) != 1:
                raise ValueError(f"{self.folder}: {len(paths)} files for shard {shard}; prepare this dataset again")
            self._readers[shard] = pa.ipc.open_file(pa.memory_map(str(paths[0])))
        return self._readers[shard]


def as_matrix(rows: pa.Array) -> np.ndarray:
    """A column of equally long lists, such as a clip's fbank, as a read-only array ``[rows, columns]``."""
    result: np.ndarray = rows.flatten().to_numpy(zero_copy_only=True).reshape(len(rows), -1)
    return result
