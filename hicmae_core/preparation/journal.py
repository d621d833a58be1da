"""Clips prepared since the last finished shard: a run that was killed goes on with the next clip."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

_NOT_DAMAGED = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)
"""Causes of errors that lie outside the file."""


class Journal:
    """Record batches of single clips in a SQLite file, found by the clip's id and key.

    A kill leaves each clip whole or absent. A damaged clip is dropped when the journal is opened; a file that SQLite
    cannot read, or of another schema, is started afresh. Only one process can have it open.

    Args:
        path: The journal's file; its folder is made.
        schema: The schema of the batches.

    Raises:
        ValueError: If another process has the journal open.
        OSError: If the disk is full or not writable; so do all methods.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            try:
                self._open()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGED:
                    raise
                self.close()
                for damaged in path.parent.glob(f"{path.name}*"):
                    damaged.unlink()
                self._open()
        self._entries: set[tuple[str, str]] = set(self._database.execute("SELECT id, key FROM clips"))

    def __contains__(self, entry: tuple[str, str]) -> bool:
        return entry in self._entries

    def append(self, content: bytes) -> pa.RecordBatch:
        """Add a clip's serialised batch, safe from a kill from then on; the batch."""
        batch = self._parse(content)
        entry = entry_of(batch)
        with self._errors():
            self._database.execute("REPLACE INTO clips VALUES (?, ?, ?, ?)", (*entry, content, zlib.crc32(content)))
        self._entries.add(entry)
        return batch

    def batch(self, entry: tuple[str, str]) -> pa.RecordBatch:
        """The batch of a clip's id and key."""
        with self._errors():
            found = self._database.execute("SELECT content FROM clips WHERE id = ? AND key = ?", entry)
            return self._parse(found.fetchone()[0])

    def retain(self, entries: Iterable[tuple[str, str]]) -> None:
        """Forget all but these, left by a run with other clips or settings."""
        self.forget(self._entries.difference(entries))

    def forget(self, entries: Iterable[tuple[str, str]]) -> None:
        """These clips are in a finished shard now; their space is freed."""
        known = self._entries.intersection(entries)
        with self._errors():
            self._database.execute("BEGIN")
            self._database.executemany("DELETE FROM clips WHERE id = ? AND key = ?", known)
            self._database.execute("COMMIT")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._entries -= known

    def close(self) -> None:
        """Let other processes have it."""
        self._database.close()

    def _parse(self, content: bytes) -> pa.RecordBatch:
        return pa.ipc.read_record_batch(pa.py_buffer(content), self._schema)

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        version = zlib.crc32(self._schema.serialize()) >> 1
        for setting in (
            "locking_mode = EXCLUSIVE",  # until the process ends; without shared memory, for NFS
            "auto_vacuum = FULL",
            "journal_mode = WAL",
            "synchronous = NORMAL",  # a power cut may cost the last clips, but not the file
        ):
            self._database.execute(f"PRAGMA {setting}")
        if self._database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
        if self._database.execute("PRAGMA user_version").fetchone() != (version,):
            self._database.execute("DROP TABLE IF EXISTS clips")
        self._database.execute("CREATE TABLE IF NOT EXISTS clips (id, key, content, crc, PRIMARY KEY (id, key))")
        self._database.create_function("crc32", 1, zlib.crc32)
        self._database.execute("DELETE FROM clips WHERE typeof(content) != 'blob' OR crc32(content) != crc")
        self._database.execute(f"PRAGMA user_version = {version}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                folder = self._path.parent
                raise ValueError(
                    f"{folder}: another process is preparing these clips; wait for it, or end it"
                ) from None
            raise OSError(f"{self._path}: {error}") from error


def entry_of(batch: pa.RecordBatch) -> tuple[str, str]:
    """The manifest's clip id and the key that a clip's batch belongs to."""
    source = "source" if "source" in batch.schema.names else "clip_id"
    return batch[source][0].as_py(), batch["key"][0].as_py()
