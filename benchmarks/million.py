"""What a million clips cost beside their media: manifest, folds, shards, random access, bookkeeping, and DVC.

Metadata and payloads are generated, and the payloads are small. What is measured depends on the number of clips, not on
their size; DVC's first look at the shards, which reads every byte, is told with its rate. The default is VoxCeleb2 with
some to spare.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from hicmae.command import run
from hicmae_core.config import DatasetParams, FacesParams, PreparationParams
from hicmae_core.preparation.pool import ClipFiles, ClipWork
from hicmae_core.preparation.preparing import prepare_faces
from hicmae_core.preparation.writing import batch_of
from hicmae_core.store import folds
from hicmae_core.store.manifest import COLUMN_TYPES, read_manifest, write_manifest
from hicmae_core.store.shards import FACES_SCHEMA, ClipStore

CLIPS_PER_SPEAKER = 180
DATASET = DatasetParams(corpus="csv", classes=("anger", "happiness", "neutral", "sadness"), num_folds=5)
PAYLOAD = [b"\xff\xd8" + bytes(range(60))] * 4
"""Stands for a clip's crops."""
ACCESSES = 20_000


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the time that a block takes: on the wall, and of the CPU, processes it starts included."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    yield
    print(f"{what}: {time.perf_counter() - wall:.2f} s, {cpu_seconds() - cpu:.2f} s of CPU", flush=True)


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def generated_manifest(num_clips: int) -> pd.DataFrame:
    """A manifest of clips that do not exist."""
    numbers = np.arange(num_clips)
    speakers = pd.Series(numbers // CLIPS_PER_SPEAKER)
    ids = "id" + speakers.map("{:05d}".format) + "_" + pd.Series(numbers).map("{:07d}".format)
    labels = numbers % len(DATASET.classes)
    values = {
        "clip_id": ids,
        "video_path": "dev/" + ids + ".mp4",
        "audio_path": "dev/" + ids + ".mp4",
        "subject": "id" + speakers.map("{:05d}".format),
        "label": labels,
        "label_name": np.array(DATASET.classes)[labels],
        "test_fold": speakers % DATASET.num_folds + 1,
        "fps": 25.0,
        "num_frames": 100 + numbers % 200,
        "duration_seconds": (100 + numbers % 200) / 25,
        "sha256": [os.urandom(32).hex() for _ in range(num_clips)],
        "status": "ok",
        "reason": "",
    }
    values["audio_sha256"] = values["sha256"]
    return pd.DataFrame(values, columns=list(COLUMN_TYPES)).astype(COLUMN_TYPES)


def generated_rows(work: ClipWork, clips: Sequence[ClipFiles]) -> Iterator[bytes]:
    """Stands in for a runner: rows with a small payload, of no file."""
    measures = {"fps": 25.0, "num_frames": len(PAYLOAD), "coverage": 1.0, "share": 1.0, "face_size": 90.0}
    for clip in clips:
        row = {"clip_id": clip.clip_id, "key": clip.key, "digest": clip.key, "num_faces": 1, "frames": PAYLOAD}
        yield batch_of([{**measures, **row}], FACES_SCHEMA).serialize().to_pybytes()


def measure_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Writing, reading and folding."""
    with timed("manifest: written in"):
        write_manifest(path, manifest)
    print(f"manifest: {path.stat().st_size / 2**20:.0f} MiB")
    with timed("manifest: read in"):
        manifest = read_manifest(path)
    with timed(f"manifest: {DATASET.num_folds} folds checked in"):
        folds.check_folds(manifest, DATASET)
    with timed("manifest: one fold split, validation speakers held out, in"):
        parts = folds.split(manifest, 1, DATASET, "validation", 0.15, seed=0)
    assert parts.validation is not None
    print(f"manifest: {len(parts.train)} clips to train on, {len(parts.validation)} to validate")


def measure_preparation(manifest: pd.DataFrame, folder: Path, num_shards: int) -> None:
    """The bookkeeping of a first run, of one without news, and of one with a new clip."""
    settings = PreparationParams(num_shards=num_shards)

    def prepare(clips: pd.DataFrame) -> dict[str, int]:
        folders = folder, folder / "faces", folder / "cache"
        return prepare_faces(clips, *folders, FacesParams(), "single", settings, run=generated_rows)

    with timed("preparation: all clips, media aside, in"):
        prepare(manifest[:-1])
    with timed("preparation: nothing new, in"):
        summary = prepare(manifest[:-1])
    assert summary["num_prepared"] == 0
    before = {path: path.stat().st_mtime_ns for path in (folder / "faces").glob("shard-*")}
    with timed("preparation: one new clip, in"):
        summary = prepare(manifest)
    assert summary["num_prepared"] == 1
    changed = sum(path.stat().st_mtime_ns != time_ns for path, time_ns in before.items())
    print(f"preparation: {changed} of {len(before)} shards rewritten for the new clip")


def measure_access(folder: Path) -> None:
    """Opening the store, and any clip of it."""
    with timed("store: opened in"):
        store = ClipStore(folder)
    sizes = [path.stat().st_size / 2**20 for path in folder.iterdir()]
    index_size = (folder / "index.parquet").stat().st_size / 2**20
    print(f"store: {len(store)} clips in {len(sizes)} files, {sum(sizes):.0f} MiB, index {index_size:.0f} MiB")
    rng = np.random.default_rng(0)
    ids = [store.clip_ids[index] for index in rng.integers(len(store), size=ACCESSES)]
    with timed(f"store: {ACCESSES} random clips, the first time, in"):
        for clip_id in ids:
            store[clip_id]
    microseconds = []
    for clip_id in rng.permutation(ids):
        start = time.perf_counter_ns()
        row = store[clip_id]
        microseconds.append((time.perf_counter_ns() - start) / 1000)
        assert row["clip_id"] == clip_id
    median, p99 = np.percentile(microseconds, [50, 99])
    print(f"store: a random clip, warm, takes {median:.0f} microseconds at the median, {p99:.0f} at p99")


def measure_dvc(folder: Path) -> None:
    """A repository of its own in which DVC tracks the store."""
    repository = folder / "repository"
    repository.mkdir()
    shutil.move(folder / "faces", repository / "faces")
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_CEILING_DIRECTORIES": str(folder)}

    def run(*command: str) -> str:
        return subprocess.run(
            command, cwd=repository, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run("git", "init", "-q")
    dvc = (sys.executable, "-m", "dvc")
    run(*dvc, "init", "-q")
    with timed("dvc: an empty `dvc status` (what starting it takes)"):
        run(*dvc, "status")
    size = sum(path.stat().st_size for path in (repository / "faces").iterdir()) / 2**20
    with timed(f"dvc: first `dvc add` of {size:.0f} MiB"):
        run(*dvc, "add", "-q", "faces")
    with timed("dvc: `dvc status` without news"):
        answer = run(*dvc, "status")
    assert "up to date" in answer, answer


def main(
    num_clips: Annotated[int, typer.Option(help="Clips of the manifest.")] = 1_100_000,
    num_shards: Annotated[int, typer.Option(help="Shards of their faces.")] = 256,
) -> None:
    """Measure and print."""
    print(f"{num_clips} clips in {num_shards} shards; load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = generated_manifest(num_clips)
        measure_manifest(manifest, folder / "manifest.parquet")
        measure_preparation(manifest, folder, num_shards)
        measure_access(folder / "faces")
        measure_dvc(folder)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB at the peak")


if __name__ == "__main__":
    run(main, "python -m benchmarks.million", __doc__)
