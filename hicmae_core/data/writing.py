"""Writing clip stores: batches, shards, their index, and all of it put in place at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hicmae_core.config import NUM_MEL_BINS
from hicmae_core.data.shards import FBANK_TYPE, INDEX_NAME, shard_name, shard_of
from hicmae_core.files import atomic_path, remove_leftovers

_DEFAULTS = {"status": "ok", "reason": "", "start_seconds": 0.0, "frames": []}


def batch_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """The samples of one clip as a record batch.

    Args:
        rows: A mapping per sample. A missing value is null, but a missing payload is empty, a missing ``status`` is
            ``ok``, and a missing ``source`` is the sample's own id, at its start.
        schema: `FACES_SCHEMA` or `AUDIO_SCHEMA`.
    """
    filled = [
        {**_DEFAULTS, "source": row["clip_id"], **{name: value for name, value in row.items() if value is not None}}
        for row in rows
    ]
    matrices = [field for field in schema if field.type == FBANK_TYPE]
    plain = pa.struct([field for field in schema if field not in matrices])
    columns = dict(zip(plain.names, pa.array(filled, plain).flatten(), strict=True))
    columns |= {field.name: _matrices([row.get(field.name) for row in filled]) for field in matrices}
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def write_shard(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write one shard; `batches` are consumed as a stream."""
    with pa.ipc.new_file(str(path), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def small_columns(schema: pa.Schema) -> pa.Schema:
    """A store's columns without the payload."""
    return pa.schema([field for field in schema if not pa.types.is_list(field.type)])


def index_of_shard(path: Path, shard: int) -> pa.Table:
    """What the index holds of one shard, in the shard's order."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        schema = small_columns(reader.schema)
        batches = [reader.get_batch(batch).select(schema.names) for batch in range(reader.num_record_batches)]
        lengths = np.array([len(batch) for batch in batches], np.int32)
        starts = np.cumsum(lengths) - lengths
        table = pa.Table.from_batches(batches, schema).combine_chunks()
    places = {
        "shard": np.full(len(table), shard, np.int32),
        "batch": np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        "row": (np.arange(len(table)) - np.repeat(starts, lengths)).astype(np.int32),
    }
    for name, place in places.items():
        table = table.append_column(name, pa.array(place))
    return table


def write_index(path: Path, parts: Sequence[pa.Table]) -> None:
    """Write the index of a whole store, sorted by clip id.

    Raises:
        ValueError: If a clip id comes twice.
    """
    index = pa.concat_tables(parts).sort_by("clip_id")
    ids = index["clip_id"].combine_chunks()
    twice = ids[1:].filter(pc.equal(ids[1:], ids[:-1]))
    if len(twice):
        raise ValueError(f"clip id {twice[0].as_py()!r} comes twice; clip ids must be unique")
    pq.write_table(index, path)


def replace_store(folder: Path, files: Mapping[str, Callable[[Path], None]]) -> None:
    """Put a store's files in place of what is there: all of them or, on any error, none.

    Args:
        folder: The store's folder.
        files: For each file name what writes it to a given path; the index, which comes last, may read the others.
    """
    remove_leftovers(folder)
    with ExitStack() as stack:
        *shards, (index_name, write_the_index) = files.items()
        assert index_name == INDEX_NAME
        index_path = stack.enter_context(atomic_path(folder / INDEX_NAME))  # first in, so the last to take its place
        for name, write in shards:
            write(stack.enter_context(atomic_path(folder / name)))
        write_the_index(index_path)
        (folder / INDEX_NAME).unlink(missing_ok=True)  # an old index must not meet new shards
        for old in folder.glob("shard-*.feather"):
            if old.name not in files:
                old.unlink()


def write_shards(folder: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, num_shards: int) -> None:
    """Write a store from rows in memory; everything appears at the end or not at all.

    Args:
        folder: Where the files go; a store that is there already is replaced.
        rows: One mapping per sample, as for `batch_of`, in any order.
        schema: `FACES_SCHEMA` or `AUDIO_SCHEMA`.
        num_shards: Files to spread the clips over.

    Raises:
        ValueError: If a clip id comes twice.
        OSError: If the disk is full or not writable; nothing is left behind then.
    """
    clips: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        clips[row.get("source", row["clip_id"])].append(row)
    shards: list[list[pa.RecordBatch]] = [[] for _ in range(num_shards)]
    for clip_id in sorted(clips):
        shards[shard_of(clip_id, num_shards)].append(batch_of(clips[clip_id], schema))
    parts: list[pa.Table] = []

    def write(shard: int, path: Path) -> None:
        write_shard(path, shards[shard], schema)
        parts.append(index_of_shard(path, shard))

    files: dict[str, Callable[[Path], None]] = {
        shard_name(shard, num_shards): partial(write, shard) for shard in range(num_shards)
    }
    replace_store(folder, {**files, INDEX_NAME: lambda path: write_index(path, parts)})


def _matrices(values: Sequence[Any]) -> pa.ListArray:
    """Arrays ``[time, 128]``, or None for an empty one, as a column."""
    matrices = [np.zeros((0, NUM_MEL_BINS)) if value is None else np.asarray(value) for value in values]
    joined = np.concatenate(matrices).astype(np.float16)
    offsets = np.cumsum([0, *map(len, matrices)]).astype(np.int32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(joined.reshape(-1)), type=FBANK_TYPE.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), rows, type=FBANK_TYPE)
