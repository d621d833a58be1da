"""Writing clip stores: batches, shards, their index, and all of it put in place at once.

Finished shards are kept outside the stage's output, so that the next run starts from them.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hicmae_core.config import NUM_MEL_BINS
from hicmae_core.files import atomic_path, remove_leftovers
from hicmae_core.store.shards import FBANK_TYPE, INDEX_NAME, shard_name, shard_of

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


class ShardCache:
    """A folder of shards, each with its part of the index beside it (``.parquet``).

    Until the end of a run there may be shards of another number of shards, too: their clips are reused.

    Args:
        folder: Where the shards are.
        schema: The shards' schema; shards of another one are as good as not there.
        num_shards: Number of shards of the store that is being made.
    """

    def __init__(self, folder: Path, schema: pa.Schema, num_shards: int) -> None:
        self._folder, self._schema = folder, schema
        self._names = [shard_name(shard, num_shards) for shard in range(num_shards)]
        self._readers: dict[str, pa.ipc.RecordBatchFileReader] = {}
        remove_leftovers(folder)
        for path in sorted(folder.glob("shard-*.feather")):
            try:
                reader = pa.ipc.open_file(pa.memory_map(str(path)))
            except pa.ArrowInvalid:
                continue
            if reader.schema.equals(schema):
                self._readers[path.name] = reader

    def clips(self) -> pd.DataFrame:
        """The clips at hand: ``clip_id, key``, the ``status`` of the first sample, and where: ``file, batch``."""
        source = "source" if "source" in self._schema.names else "clip_id"
        names = [source, "key", "status", "batch"]
        parts = []
        for file in sorted(self._readers, key=lambda file: file not in self._names):  # of two, the store's own is taken
            part = pq.read_table(self._index_part(file), columns=[*names, "row"])
            part = part.filter(pc.equal(part["row"], 0)).select(names)
            parts.append(
                part.append_column("file", pa.DictionaryArray.from_arrays(np.zeros(len(part), np.int32), [file]))
            )
        if not parts:
            return pd.DataFrame(columns=["clip_id", *names[1:], "file"])
        clips = pa.concat_tables(parts).rename_columns(["clip_id", *names[1:], "file"])
        result: pd.DataFrame = clips.to_pandas().drop_duplicates(["clip_id", "key"])
        return result

    def is_complete(self, shard: int, files: pd.Series) -> bool:
        """Whether a shard of the store holds what it should and no more, given the file that each clip is in."""
        name = self._names[shard]
        reader = self._readers.get(name)
        return reader is not None and reader.num_record_batches == len(files) == int((files == name).sum())

    def batch(self, file: str, number: int) -> pa.RecordBatch:
        """A clip's batch."""
        return self._readers[file].get_batch(number)

    def write(self, shard: int, batches: Iterable[pa.RecordBatch]) -> None:
        """Put a shard of the store in place; `batches` may come from the one that it replaces."""
        name = self._names[shard]
        path = self._folder / name
        with atomic_path(path) as temporary:
            write_shard(temporary, batches, self._schema)
            path.with_suffix(".parquet").unlink(missing_ok=True)  # an old index must not meet a new shard
        self._readers[name] = pa.ipc.open_file(pa.memory_map(str(path)))
        self._index_part(name)

    def publish(self, out_dir: Path) -> pa.Table:
        """Make `out_dir` the finished store, by hard links if possible, drop all other shards; the store's index."""
        parts = [pq.read_table(self._index_part(name)) for name in self._names]
        links: dict[str, Callable[[Path], None]] = {name: partial(_link, self._folder / name) for name in self._names}
        replace_store(out_dir, {**links, INDEX_NAME: lambda path: write_index(path, parts)})
        for path in self._folder.glob("shard-*"):
            if path.with_suffix(".feather").name not in links:
                path.unlink()
        return pa.concat_tables(parts)

    def _index_part(self, name: str) -> Path:
        """A shard's part of the index; it is made from the shard if a kill has prevented it."""
        part = (self._folder / name).with_suffix(".parquet")
        if not part.is_file():
            with atomic_path(part) as temporary:
                pq.write_table(index_of_shard(self._folder / name, int(name.split("-")[1])), temporary)
        return part


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
