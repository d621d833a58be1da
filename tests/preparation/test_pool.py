"""Clips on several processes: in order, and what goes wrong with one is its own affair."""

import os
import signal
import time
from pathlib import Path

from hicmae_core.preparation.pool import ClipFailure, ClipFiles, in_processes

CLIPS = [ClipFiles(f"clip{number}", Path(), Path(), "key") for number in range(12)]


def troubled(clip: ClipFiles) -> bytes:
    """Exits, hangs, is killed or raises on some clips."""
    match clip.clip_id:
        case "clip2":
            os._exit(3)
        case "clip5":
            time.sleep(600)
        case "clip7":
            os.kill(os.getpid(), signal.SIGKILL)
        case "clip9":
            raise ZeroDivisionError("nothing to divide by")
    return clip.clip_id.encode()


def fails_in_company(clip: ClipFiles) -> bytes:
    """On clip 0, dies at the first attempt, as of too little memory, and whenever another is worked on."""
    folder = clip.video
    if clip.clip_id == "clip0":
        if not (folder / "died").exists():
            (folder / "died").touch()
            os._exit(1)
        return b"alone" if not list(folder.glob("*.busy")) else b"in company"
    mark = folder / f"{os.getpid()}.busy"
    mark.touch()
    time.sleep(0.3)
    mark.unlink()
    return b"done"


def threads(clip: ClipFiles) -> bytes:
    import cv2
    import torch

    return bytes([cv2.getNumThreads(), torch.get_num_threads()])


def test_trouble_costs_only_its_own_clip(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    results = dict(zip((clip.clip_id for clip in CLIPS), in_processes(3, 4)(troubled, CLIPS), strict=True))
    bad = {clip_id: result for clip_id, result in results.items() if isinstance(result, ClipFailure)}
    assert {clip_id: failure.status for clip_id, failure in bad.items()} == {
        "clip2": "crashed",
        "clip5": "timeout",
        "clip7": "crashed",
        "clip9": "crashed",
    }
    assert "exit code 3" in bad["clip2"].reason
    assert "4 s" in bad["clip5"].reason
    assert "out of memory?" in bad["clip7"].reason
    assert "ZeroDivisionError: nothing to divide by" in bad["clip9"].reason
    assert all(results[clip.clip_id] == clip.clip_id.encode() for clip in CLIPS if clip.clip_id not in bad)


def test_a_clip_that_died_in_company_is_tried_alone(tmp_path):
    clips = [ClipFiles(f"clip{number}", tmp_path, Path(), "key") for number in range(6)]
    assert list(in_processes(3)(fails_in_company, clips)) == [b"alone", *[b"done"] * 5]
    assert (tmp_path / "died").exists()


def test_libraries_have_one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM", raising=False)
    assert list(in_processes(1)(threads, CLIPS[:1])) == [b"\x01\x01"]
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "OPENCV_FOR_THREADS_NUM" not in os.environ


def test_no_clips_no_processes():
    assert list(in_processes(2)(troubled, [])) == []
