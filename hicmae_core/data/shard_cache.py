"""The finished shards of a preparation, kept outside the stage's output so that the next run has them to go on from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hicmae_core.data.shards import INDEX_NAME, shard_name
from hicmae_core.data.writing import index_of_shard, replace_store, write_index, write_shard
from hicmae_core.files import atomic_path, remove_leftovers


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
        return clips.to_pandas().drop_duplicates(["clip_id", "key"])

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
