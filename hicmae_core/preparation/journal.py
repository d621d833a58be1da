"""What has been computed for a shard that is not finished yet; it survives a kill at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

_HEADER = struct.Struct("<IQ")
"""In front of each entry: CRC-32 of its content, and its length."""


class Journal:
    """Record batches of single clips, appended to one file and found again by the clip's id and key.

    An entry that a kill, a full disk or a power cut left torn is dropped, with all behind it, when the journal is
    opened. Only one process can have it open.

    Args:
        path: The journal's file; its folder is made.
        schema: The batches' schema; a journal of another one is started afresh.

    Raises:
        ValueError: If another process has the journal open.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._places: dict[tuple[str, str], tuple[int, int]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._file = path.open("r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"{path.parent}: another process is preparing these clips; wait for it, or end it"
            ) from None
        self._magic = b"clips" + hashlib.sha256(schema.serialize()).digest()
        if self._file.read(len(self._magic)) == self._magic:
            self._read_entries()
        else:
            self._clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, entry: tuple[str, str]) -> bool:
        return entry in self._places

    def append(self, content: bytes) -> pa.RecordBatch:
        """Add a clip's serialised batch, safe from a kill from then on; the batch."""
        batch = self._parse(content)
        start = self._file.seek(0, 2)
        try:
            self._file.write(_HEADER.pack(zlib.crc32(content), len(content)))
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            error.filename = str(self._path)
            raise
        self._places[entry_of(batch)] = start + _HEADER.size, len(content)
        return batch

    def batch(self, entry: tuple[str, str]) -> pa.RecordBatch:
        """The batch of a clip's id and key."""
        start, length = self._places[entry]
        self._file.seek(start)
        return self._parse(self._file.read(length))

    def retain(self, entries: Iterable[tuple[str, str]]) -> None:
        """Forget all but these, left by a run with other clips or settings."""
        self._places = {entry: self._places[entry] for entry in entries if entry in self._places}
        if not self._places:
            self._clear()

    def forget(self, entries: Iterable[tuple[str, str]]) -> None:
        """These clips are in a finished shard now; the space is freed when all are."""
        for entry in entries:
            self._places.pop(entry, None)
        if not self._places:
            self._clear()

    def _parse(self, content: bytes) -> pa.RecordBatch:
        return pa.ipc.read_record_batch(pa.py_buffer(content), self._schema)

    def _clear(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(self._magic)
        self._file.flush()

    def _read_entries(self) -> None:
        end = self._file.tell()
        while len(header := self._file.read(_HEADER.size)) == _HEADER.size:
            checksum, length = _HEADER.unpack(header)
            content = self._file.read(length)
            if len(content) < length or zlib.crc32(content) != checksum:
                break
            self._places[entry_of(self._parse(content))] = end + _HEADER.size, length
            end = self._file.tell()
        self._file.truncate(end)


def entry_of(batch: pa.RecordBatch) -> tuple[str, str]:
    """The manifest's clip id and the key that a clip's batch belongs to."""
    source = "source" if "source" in batch.schema.names else "clip_id"
    return batch[source][0].as_py(), batch["key"][0].as_py()
