"""From raw files to shards: faces and log-mel features of every clip of a manifest, on all cores.

Clips that could not be prepared are listed in a file, and too many of them end the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from hicmae_core.config import FacePolicy, FacesParams, PreparationParams
from hicmae_core.files import atomic_path
from hicmae_core.preparation.journal import Journal, entry_of
from hicmae_core.preparation.pool import ClipFailure, ClipWork, RunClips, in_processes
from hicmae_core.preparation.rows import (
    ClipSequence,
    audio_batch,
    audio_fingerprint,
    faces_batch,
    faces_fingerprint,
    failed_batch,
    wanted_clips,
)
from hicmae_core.preparation.writing import ShardCache
from hicmae_core.progress import log_line, progress_bar
from hicmae_core.store.manifest import USABLE
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, shard_of

_AGAIN = ("crashed", "timeout")
"""Statuses that the next run does not take for granted."""

REJECTS_NAME = "rejects.csv"


def prepare_faces(
    manifest: pd.DataFrame,
    root: Path,
    out_dir: Path,
    cache_dir: Path,
    faces: FacesParams,
    face_policy: FacePolicy,
    preparation: PreparationParams,
    num_processes: int = 0,
    device: str = "cpu",
    run: RunClips | None = None,
) -> dict[str, Any]:
    """Find, follow and crop the faces of every clip of a manifest whose status is ``ok``; of an empty one, of none.

    Writes a `ClipStore` of `FACES_SCHEMA`, and ``rejects.csv`` (``clip_id, status, reason``).

    Args:
        manifest: The clips; paths are relative to `root`.
        root: Folder of the raw files.
        out_dir: Where the store goes.
        cache_dir: Where finished shards and the journal stay between runs; clips found there are not prepared again.
        faces: Detection and crop geometry.
        face_policy: Which faces of a clip are taken.
        preparation: Number of shards and what clips are refused.
        num_processes: Worker processes; 0 means one per CPU core.
        device: Where ``face_alignment`` detectors run; CenterFace always runs on the CPU.
        run: Where clips are prepared; in processes of this machine if None.

    Returns:
        ``num_clips``, ``num_rejected``, ``num_frames``, ``num_reused``, ``num_prepared`` and counts of samples per
        status, for a metrics file.

    Raises:
        ValueError: If too many clips are rejected, with the counts per reason, the detector cannot be made, or
            another process is preparing the same clips.
        OSError: If the disk is full or not writable; `out_dir` stays as it was.
    """
    max_seconds = preparation.max_clip_seconds
    work = partial(faces_batch, faces=faces, policy=face_policy, max_seconds=max_seconds, device=device)
    settings = faces_fingerprint(faces, face_policy, max_seconds)
    clips = wanted_clips(manifest, root, settings, "video_path", "sha256")
    run = run or in_processes(num_processes, preparation.clip_timeout_seconds)
    return _prepare(clips, root, out_dir, cache_dir, work, FACES_SCHEMA, preparation, run)


def prepare_audio(
    manifest: pd.DataFrame,
    root: Path,
    out_dir: Path,
    cache_dir: Path,
    preparation: PreparationParams,
    num_processes: int = 0,
    run: RunClips | None = None,
) -> dict[str, Any]:
    """Compute the log-mel features of every clip of a manifest whose status is ``ok``.

    The audio is that of ``audio_path``, or of ``video_path`` where there is none. Writes a `ClipStore` of
    `AUDIO_SCHEMA`; arguments, results (but ``num_frames``) and errors otherwise as `prepare_faces`.
    """
    work = partial(audio_batch, max_seconds=preparation.max_clip_seconds)
    settings = audio_fingerprint(preparation.max_clip_seconds)
    clips = wanted_clips(manifest, root, settings, "audio_path", "audio_sha256")
    run = run or in_processes(num_processes, preparation.clip_timeout_seconds)
    return _prepare(clips, root, out_dir, cache_dir, work, AUDIO_SCHEMA, preparation, run)


def _prepare(
    clips: pd.DataFrame,
    root: Path,
    out_dir: Path,
    cache_dir: Path,
    work: ClipWork,
    schema: pa.Schema,
    preparation: PreparationParams,
    run: RunClips,
) -> dict[str, Any]:
    """Prepare what is not at hand, shard after shard, and count what went wrong."""
    clips["shard"] = [shard_of(clip_id, preparation.num_shards) for clip_id in clips["clip_id"]]
    clips = clips.sort_values("shard", kind="stable")
    with (
        closing(Journal(cache_dir / "journal", schema)) as journal,
        Rejects(out_dir, len(clips), preparation.max_reject_fraction) as rejects,
    ):
        cache = ShardCache(cache_dir, schema, preparation.num_shards)
        at_hand = cache.clips()
        clips = clips.merge(at_hand[~at_hand["status"].isin(_AGAIN)], how="left", on=["clip_id", "key"])
        todo = clips[clips["file"].isna()]
        journal.retain(clip.entry for clip in _each(todo))
        todo = todo[np.array([clip.entry not in journal for clip in _each(todo)], bool)]
        num_reused = len(clips) - len(todo)
        log_line(f"{out_dir}: {num_reused} clips reused, {len(todo)} to prepare")
        with (
            progress_bar(desc=str(out_dir), initial=num_reused, total=len(clips), unit="clip") as bar,
            closing(_results(run, work, ClipSequence(todo, root), bar)) as results,
        ):
            shards = _Shards(cache, journal, rejects, schema, root)
            shards.check_reused(clips)
            members = dict(iter(clips.groupby("shard")))
            for shard in range(preparation.num_shards):
                shards.finish(shard, members.get(shard, clips[:0]), results)
        index = cache.publish(out_dir)
    summary = {"num_clips": len(clips), "num_rejected": len(rejects)}
    if "num_frames" in index.column_names:
        summary["num_frames"] = pc.sum(index["num_frames"]).as_py() or 0
    statuses = {count["values"]: count["counts"] for count in pc.value_counts(index["status"]).to_pylist()}
    return {**summary, "num_reused": num_reused, "num_prepared": len(todo), **dict(sorted(statuses.items()))}


def _results(
    run: RunClips, work: ClipWork, clips: ClipSequence, bar: tqdm[Any]
) -> Generator[bytes | ClipFailure, None, None]:
    """What `run` yields, with progress; a generator, so that closing it ends the workers."""
    for result in run(work, clips):
        yield result
        bar.update()


class _Clip(NamedTuple):
    clip_id: str
    key: str
    path: str
    file: Any
    """The finished shard that it is in; NaN if in none."""
    batch: Any

    @property
    def entry(self) -> tuple[str, str]:
        """What the journal knows it by."""
        return self.clip_id, self.key


def _each(clips: pd.DataFrame) -> Iterator[_Clip]:
    return map(_Clip._make, zip(*(clips[name] for name in _Clip._fields), strict=True))


@dataclass(frozen=True)
class _Shards:
    """The shards of a run, finished one after the other."""

    cache: ShardCache
    journal: Journal
    rejects: Rejects
    schema: pa.Schema
    root: Path

    def check_reused(self, clips: pd.DataFrame) -> None:
        """Count the rejected ones among the clips that are at hand."""
        rejected = clips[clips["file"].notna() & ~clips["status"].isin(USABLE)]
        for clip in _each(rejected):
            self._check(clip, self.cache.batch(clip.file, int(clip.batch)))
        for clip in _each(clips[clips["file"].isna()]):
            if clip.entry in self.journal:
                self._check(clip, self.journal.batch(clip.entry))

    def finish(self, shard: int, clips: pd.DataFrame, results: Iterator[bytes | ClipFailure]) -> None:
        """Write a shard unless it is as it should be; `results` are those of its clips that are not at hand."""
        if self.cache.is_complete(shard, clips["file"]):
            return
        failures: dict[str, pa.RecordBatch] = {}
        for clip in _each(clips[clips["file"].isna()]):
            if clip.entry in self.journal:
                continue
            result = next(results)
            if isinstance(result, ClipFailure):
                batch = failures[clip.clip_id] = failed_batch(clip.clip_id, clip.key, result, self.schema)
            else:
                batch = self.journal.append(result)
            assert entry_of(batch) == clip.entry, f"a result of {entry_of(batch)} for {clip.clip_id}"
            self._check(clip, batch)
        self.cache.write(shard, self._batches(clips, failures))
        self.journal.forget(clip.entry for clip in _each(clips))

    def _batches(self, clips: pd.DataFrame, failures: dict[str, pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for clip in _each(clips):
            if clip.clip_id in failures:
                yield failures[clip.clip_id]
            elif clip.entry in self.journal:
                yield self.journal.batch(clip.entry)
            else:
                yield self.cache.batch(clip.file, int(clip.batch))

    def _check(self, clip: _Clip, batch: pa.RecordBatch) -> None:
        status, reason = batch["status"][0].as_py(), batch["reason"][0].as_py()
        self.rejects.check(clip.clip_id, status, f"{self.root}/{clip.path}: {reason}")


class Rejects:
    """Collects rejected clips; at the end, an error's included, they are written to ``rejects.csv``.

    Args:
        folder: Where the file goes.
        num_clips: Clips in all.
        max_fraction: Share of the clips that may be rejected.
    """

    def __init__(self, folder: Path, num_clips: int, max_fraction: float) -> None:
        self._path = folder / REJECTS_NAME
        self._num_clips, self._max_fraction = num_clips, max_fraction
        self._rows: list[tuple[str, str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with atomic_path(self._path) as path:
            rows = pd.DataFrame(sorted(self._rows), columns=["clip_id", "status", "reason"])
            rows.to_csv(path, index=False)

    def __len__(self) -> int:
        return len(self._rows)

    def check(self, clip_id: str, status: str, reason: str) -> None:
        """Take note of a clip if it is rejected.

        Raises:
            ValueError: If too many are, with the counts per status.
        """
        if status in USABLE:
            return
        self._rows.append((clip_id, status, reason))
        if len(self) <= int(self._max_fraction * self._num_clips):
            return
        statuses = Counter(status for _, status, _ in self._rows).most_common()
        counts = ", ".join(f"{count} {status}" for status, count in statuses)
        raise ValueError(
            f"{len(self)} of {self._num_clips} clips were rejected ({counts}) when max_reject_fraction "
            f"{self._max_fraction:g} was passed; the list is {self._path}, the first: {self._rows[0][2]}. "
            "Mend the files, or raise max_reject_fraction"
        )
