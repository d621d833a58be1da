"""Clips in a few large Arrow files: constant-time access by clip id, however many clips there are.

A store is a folder of ``shard-00000-of-00004.feather`` files and an ``index.parquet``. A shard is an
uncompressed Arrow IPC ("feather v2") file with one record batch per clip; it is memory-mapped, so reading a
clip touches only that clip's bytes, and ``pandas.read_feather`` opens it too. The index has a row per clip, also
for those that could not be prepared, with every value that is not a list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hicmae_core.config import NUM_MEL_BINS
from hicmae_core.files import atomic_path

INDEX_NAME = "index.parquet"

FACES_SCHEMA = pa.schema({"clip_id": pa.string(), "fps": pa.float64(), "frames": pa.list_(pa.binary())})
"""A clip's face crops, one JPEG (RGB, square) per video frame."""

AUDIO_SCHEMA = pa.schema(
    {"clip_id": pa.string(), "num_samples": pa.int64(), "fbank": pa.list_(pa.list_(pa.float16(), NUM_MEL_BINS))}
)
"""A clip's un-normalised log-mel frames ``[time, 128]`` and the number of 16 kHz samples they come from."""


def shard_of(clip_id: str, num_shards: int) -> int:
    """The shard that a clip lives in: the same on every machine, whichever other clips there are."""
    return int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "big") % num_shards


def write_shards(folder: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, num_shards: int) -> pd.DataFrame:
    """Write clips, in the order given, and their index; everything appears at the end or not at all.

    Args:
        folder: Where the files go; a store that is there already is replaced.
        rows: One mapping per clip, consumed as a stream. The keys of `schema` make the shard's row; a clip whose
            list column is missing or None (it was rejected) gets an index row only. All values that are not lists,
            further keys such as ``status`` included, go to the index.
        schema: `FACES_SCHEMA` or `AUDIO_SCHEMA`: one list column, which may be given as an array.
        num_shards: Files to spread the clips over; all are open while writing.

    Returns:
        The index: ``clip_id, shard, batch`` (the last two null for a rejected clip) and the small columns.

    Raises:
        ValueError: If a clip id comes twice.
        OSError: If the disk is full or not writable; nothing is left behind then.
    """
    (payload,) = (field.name for field in schema if pa.types.is_list(field.type))
    num_batches = [0] * num_shards
    entries: dict[str, dict[str, Any]] = {}
    with ExitStack() as files:
        index_file = files.enter_context(atomic_path(folder / INDEX_NAME))
        paths = [files.enter_context(atomic_path(_shard_path(folder, i, num_shards))) for i in range(num_shards)]
        with ExitStack() as open_writers:
            writers = [open_writers.enter_context(pa.ipc.new_file(str(path), schema)) for path in paths]
            for row in rows:
                clip_id = row["clip_id"]
                if clip_id in entries:
                    raise ValueError(f"{folder}: clip id {clip_id!r} comes twice; clip ids must be unique")
                shard = batch = None
                if row.get(payload) is not None:
                    shard = shard_of(clip_id, num_shards)
                    batch = num_batches[shard]
                    num_batches[shard] += 1
                    writers[shard].write_batch(_record_batch(row, schema))
                small = {key: value for key, value in row.items() if key not in (payload, "clip_id")}
                entries[clip_id] = {"clip_id": clip_id, "shard": shard, "batch": batch, **small}
        index = pd.DataFrame(list(entries.values()), columns=None if entries else ["clip_id", "shard", "batch"])
        index = index.astype({"clip_id": "str", "shard": "Int32", "batch": "Int64"})
        index.to_parquet(index_file, index=False)
        for old in [folder / INDEX_NAME, *folder.glob("shard-*.feather")]:  # an old index must not meet new shards
            old.unlink(missing_ok=True)
    return index


class ClipStore:
    """Read access to a folder of shards.

    Files are mapped when first needed, and again in each process that a store is pickled to.

    Attributes:
        folder: The store's folder.
        index: A row per clip, indexed by position: ``clip_id, shard, batch`` and small columns.

    Raises:
        ValueError: If the folder has no index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX_NAME).is_file():
            raise ValueError(f"{self.folder}: no {INDEX_NAME} there; prepare this dataset first")
        self.index = pd.read_parquet(self.folder / INDEX_NAME)
        stored = self.index[self.index["shard"].notna()]
        self._positions = pd.Index(stored["clip_id"])
        self._shards = stored["shard"].to_numpy(dtype=np.int64)
        self._batches = stored["batch"].to_numpy(dtype=np.int64)
        self._readers: dict[int, pa.ipc.RecordBatchFileReader] = {}

    @property
    def clip_ids(self) -> list[str]:
        """Ids of the clips that have content, in the order they were written."""
        return list(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._positions

    def __getitem__(self, clip_id: str) -> dict[str, Any]:
        """A clip's row; its list column is an Arrow array that still lies in the mapped file.

        Raises:
            KeyError: If the store has no content for this clip.
        """
        try:
            position = self._positions.get_loc(clip_id)
        except KeyError:
            raise KeyError(f"{self.folder}: no clip {clip_id!r} with content") from None
        batch = self._reader(int(self._shards[position])).get_batch(int(self._batches[position]))
        assert batch.num_rows == 1, f"{self.folder}: clip {clip_id!r} is not a batch of its own"
        cells = {name: column[0] for name, column in zip(batch.schema.names, batch.columns, strict=True)}
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
    return rows.flatten().to_numpy(zero_copy_only=True).reshape(len(rows), -1)


def _shard_path(folder: Path, shard: int, num_shards: int) -> Path:
    return folder / f"shard-{shard:05d}-of-{num_shards:05d}.feather"


def _record_batch(row: Mapping[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    """One clip as a record batch of one row."""
    columns = []
    for field in schema:
        value = row[field.name]
        if isinstance(value, np.ndarray):
            matrix = np.ascontiguousarray(value, dtype=np.float16)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), type=field.type.value_type)
            columns.append(pa.ListArray.from_arrays(pa.array([0, len(matrix)], pa.int32()), lists, type=field.type))
        else:
            columns.append(pa.array([value], field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
