"""The demo corpus: talking faces in files, with labels, folds and a few broken clips."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from hicmae_core.config import CorpusParams
from hicmae_core.demo.performance import FRAME_RATE_HZ
from hicmae_core.demo.rendering import Studio
from hicmae_core.demo.script import FLAWS, ScriptedClip, fold_of, write_script
from hicmae_core.demo.sheet import draw_contact_sheet, draw_spectrograms
from hicmae_core.files import write_text
from hicmae_core.progress import progress_bar

LABELLED = "demo"
UNLABELLED = "demo_unlabelled"

_CLIPS_PER_JOB = 8


def generate_corpus(params: CorpusParams, out_dir: Path, num_processes: int = 0) -> dict[str, int | float]:
    """Film the labelled and the unlabelled demo clips; the same seed gives the same bytes.

    Under `out_dir`: ``demo/labels.csv`` (clip_id, file, subject, emotion, fold), the clips it names,
    ``demo/contact_sheet.png`` and ``demo/spectrograms.png``; ``demo_unlabelled/unlabelled.csv`` (clip_id,
    file, subject) and its clips. Files are named relative to the folder of their table.

    Args:
        params: Seed, counts and lengths.
        out_dir: Folder of the raw datasets.
        num_processes: Processes that video; 0 means one per CPU core.

    Returns:
        Counts, the seconds filmed, and the number of broken clips by flaw.
    """
    labelled, unlabelled = write_script(params, FRAME_RATE_HZ)
    _render_all({out_dir / LABELLED: labelled, out_dir / UNLABELLED: unlabelled}, num_processes)
    speakers = list(dict.fromkeys(clip.speaker.name for clip in labelled))
    folds = {name: fold_of(index) for index, name in enumerate(speakers)}
    rows = [(clip.clip_id, clip.file, clip.speaker.name, clip.emotion, folds[clip.speaker.name]) for clip in labelled]
    _write_table(out_dir / LABELLED / "labels.csv", ("clip_id", "file", "subject", "emotion", "fold"), rows)
    rows_unlabelled = [(clip.clip_id, clip.file, clip.speaker.name) for clip in unlabelled]
    _write_table(out_dir / UNLABELLED / "unlabelled.csv", ("clip_id", "file", "subject"), rows_unlabelled)
    draw_contact_sheet(labelled, out_dir / LABELLED, unlabelled, out_dir / UNLABELLED)
    draw_spectrograms(labelled, out_dir / LABELLED)
    flaws = {f"num_{flaw}": sum(clip.flaw == flaw for clip in labelled) for flaw in FLAWS}
    return {
        "num_labelled": sum(clip.flaw == "none" for clip in labelled),
        "num_unlabelled": len(unlabelled),
        "num_speakers": len(speakers),
        "num_unlabelled_speakers": len({clip.speaker.name for clip in unlabelled}),
        "num_broken": sum(flaws.values()),
        **flaws,
        "seconds": round(sum(clip.num_frames for clip in labelled + unlabelled) / FRAME_RATE_HZ, 2),
    }


def _render_all(clips_by_folder: dict[Path, list[ScriptedClip]], num_processes: int) -> None:
    """Film in worker processes of one thread each, which know the speaker they filmed last."""
    jobs = [
        (folder, group)
        for folder, clips in clips_by_folder.items()
        for group in _groups(sorted(clips, key=lambda clip: clip.speaker.name))
    ]
    total = sum(len(group) for _, group in jobs)
    num_workers = min(num_processes or _num_cores(), len(jobs))
    context = multiprocessing.get_context("spawn")
    with (
        progress_bar(total=total, desc="demo corpus", unit="clip") as progress,
        ProcessPoolExecutor(num_workers, context, initializer=_single_threaded) as pool,
    ):
        for future in as_completed([pool.submit(_render, folder, group) for folder, group in jobs]):
            progress.update(future.result())


def _groups(clips: Sequence[ScriptedClip]) -> Iterable[Sequence[ScriptedClip]]:
    for start in range(0, len(clips), _CLIPS_PER_JOB):
        yield clips[start : start + _CLIPS_PER_JOB]


def _render(folder: Path, clips: Sequence[ScriptedClip]) -> int:
    studio = Studio()
    for clip in clips:
        studio.render(clip, folder)
    return len(clips)


def _single_threaded() -> None:
    cv2.setNumThreads(1)
    threadpool_limits(1)


def _num_cores() -> int:
    """CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
