"""From raw files to shards: the faces and the sound of every clip of a manifest, on all cores."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from hicmae_core.config import FacesParams
from hicmae_core.data.manifest import USABLE
from hicmae_core.data.shards import AUDIO_SCHEMA, FACES_SCHEMA, write_shards
from hicmae_core.files import atomic_path
from hicmae_core.media.decoding import MediaError, read_audio
from hicmae_core.media.detection import Detector, make_detector
from hicmae_core.media.faces import extract_face
from hicmae_core.media.fbank import log_mel
from hicmae_core.progress import progress_bar

REJECTS_NAME = "rejects.csv"

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CLIPS_IN_FLIGHT_PER_PROCESS = 4

Row = dict[str, Any]


def prepare_faces(
    manifest: pd.DataFrame,
    root: Path,
    out_dir: Path,
    faces: FacesParams,
    num_shards: int,
    max_reject_fraction: float,
    num_processes: int = 0,
    device: str = "cpu",
) -> Row:
    """Find, follow and crop the main face of every clip of a manifest whose status is ``ok``.

    Writes a `ClipStore` of `FACES_SCHEMA`, whose index tells ``status, reason, fps, num_frames, coverage,
    num_faces`` of every clip, and ``rejects.csv`` (``clip_id, status, reason``).

    Args:
        manifest: The clips; paths are relative to `root`.
        root: Folder of the raw files.
        out_dir: Where the store goes.
        faces: Detection and crop geometry.
        num_shards: Files to spread the clips over.
        max_reject_fraction: Share of the clips that may be rejected.
        num_processes: Worker processes; 0 means one per CPU core.
        device: Where ``face_alignment`` detectors run; CenterFace always runs on the CPU.

    Returns:
        ``num_clips``, ``num_rejected``, ``num_frames`` and counts per status, for a metrics file.

    Raises:
        ValueError: If too many clips are rejected, with the counts per reason, or the detector cannot be made.
    """
    make_detector(faces, device)  # a missing weights file is told once and at once
    work = partial(_face_row, faces=faces, device=device)
    return _prepare(manifest, root, out_dir, work, FACES_SCHEMA, num_shards, max_reject_fraction, num_processes)


def prepare_audio(
    manifest: pd.DataFrame,
    root: Path,
    out_dir: Path,
    num_shards: int,
    max_reject_fraction: float,
    num_processes: int = 0,
) -> Row:
    """Compute the log-mel features of every clip of a manifest whose status is ``ok``.

    The sound is that of ``audio_path``, or of ``video_path`` where there is none. Writes a `ClipStore` of
    `AUDIO_SCHEMA`; arguments, results and errors otherwise as `prepare_faces`.
    """
    return _prepare(manifest, root, out_dir, _audio_row, AUDIO_SCHEMA, num_shards, max_reject_fraction, num_processes)


def _prepare(
    manifest: pd.DataFrame,
    root: Path,
    out_dir: Path,
    work: Callable[[str, Path, Path], Row],
    schema: pa.Schema,
    num_shards: int,
    max_reject_fraction: float,
    num_processes: int,
) -> Row:
    """Run `work` on each clip, write its rows, count what went wrong."""
    clips = manifest[manifest["status"] == "ok"]
    if clips.empty:
        raise ValueError(f"{out_dir}: nothing to prepare: the manifest has no clip with status ok")
    rejects: list[Row] = []
    statuses: Counter[str] = Counter()
    max_rejects = int(max_reject_fraction * len(clips))

    def counted() -> Iterator[Row]:
        rows = _in_processes(work, list(_arguments(clips, root)), num_processes)
        for row in progress_bar(rows, desc=str(out_dir), total=len(clips), unit="clip"):
            statuses[row["status"]] += 1
            if row["status"] not in USABLE:
                rejects.append({key: row[key] for key in ("clip_id", "status", "reason")})
                if len(rejects) > max_rejects:
                    raise ValueError(_too_many(rejects, statuses, len(clips), max_reject_fraction, out_dir))
            yield row

    try:
        index = write_shards(out_dir, counted(), schema, num_shards)
    finally:
        with atomic_path(out_dir / REJECTS_NAME) as path:
            pd.DataFrame(rejects, columns=["clip_id", "status", "reason"]).to_csv(path, index=False)
    summary: Row = {"num_clips": len(index), "num_rejected": len(rejects)}
    if "num_frames" in index:
        summary["num_frames"] = int(index["num_frames"].sum())
    return {**summary, **dict(sorted(statuses.items()))}


def _arguments(clips: pd.DataFrame, root: Path) -> Iterator[tuple[str, Path, Path]]:
    """Each clip's id, video file and sound file."""
    for clip_id, video, audio in zip(clips["clip_id"], clips["video_path"], clips["audio_path"], strict=True):
        yield str(clip_id), root / video, root / (video if pd.isna(audio) or not audio else audio)


def _too_many(rejects: list[Row], statuses: Counter[str], num_clips: int, limit: float, out_dir: Path) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in statuses.most_common() if status not in USABLE)
    return (
        f"{len(rejects)} of {num_clips} clips were rejected ({counts}) when max_reject_fraction {limit:g} was passed; "
        f"the list is {out_dir / REJECTS_NAME}, the first: {rejects[0]['reason']}. "
        "Mend the files, or raise max_reject_fraction"
    )


def _face_row(clip_id: str, video: Path, audio: Path, *, faces: FacesParams, device: str) -> Row:
    track = extract_face(video, faces, _worker_detector(faces, device))
    return {
        "clip_id": clip_id,
        "status": track.status,
        "reason": track.reason,
        "fps": track.fps,
        "frames": track.frames if track.usable else None,
        "num_frames": len(track.frames),
        "coverage": track.coverage,
        "num_faces": track.num_faces,
    }


def _audio_row(clip_id: str, video: Path, audio: Path) -> Row:
    try:
        waveform = read_audio(audio)
    except MediaError as error:
        return {"clip_id": clip_id, "status": error.status, "reason": str(error), "num_samples": 0, "fbank": None}
    features = log_mel(waveform).astype(np.float16)
    if not len(features):
        reason = f"{audio}: {len(waveform)} samples of sound, less than one 25 ms window"
        return {"clip_id": clip_id, "status": "no_sound", "reason": reason, "num_samples": 0, "fbank": None}
    return {"clip_id": clip_id, "status": "ok", "reason": "", "num_samples": len(waveform), "fbank": features}


_detectors: dict[str, Detector] = {}


def _worker_detector(faces: FacesParams, device: str) -> Detector:
    """This process's detector."""
    key = f"{faces.model_dump_json()} {device}"
    if key not in _detectors:
        _detectors[key] = make_detector(faces, device)
    return _detectors[key]


def _in_processes(
    work: Callable[[str, Path, Path], Row], arguments: list[tuple[str, Path, Path]], num_processes: int
) -> Iterator[Row]:
    """Results in the order of the arguments, from processes of one library thread each.

    Only a few clips per process are in flight, so results do not pile up behind a slow clip.
    """
    num_processes = min(num_processes or len(os.sched_getaffinity(0)), len(arguments))
    flight: deque[tuple[str, Future[Row]]] = deque()
    with (
        _single_threaded_children(),
        ProcessPoolExecutor(num_processes, get_context("spawn"), initializer=_start_worker) as pool,
    ):
        try:
            for clip in arguments:
                flight.append((clip[0], pool.submit(work, *clip)))
                if len(flight) >= num_processes * _CLIPS_IN_FLIGHT_PER_PROCESS:
                    yield flight[0][1].result()
                    flight.popleft()
            while flight:
                yield flight[0][1].result()
                flight.popleft()
        except BrokenProcessPool:
            ids = ", ".join(clip_id for clip_id, _ in flight)
            raise RuntimeError(f"a worker process died (out of memory?) at one of these clips: {ids}") from None
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Processes started inside this context load their libraries with one thread each."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
