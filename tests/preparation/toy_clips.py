"""A per-clip function that needs no media, for tests of where it runs."""

import os
import signal
import time
from pathlib import Path

from hicmae_core.preparation.pool import ClipFiles


def toy_work(clip: ClipFiles, journal: Path) -> bytes:
    """A clip's bytes. The journal tells which process had it, below which one, with how many library threads, where."""
    with journal.open("a") as file:
        file.write(f"{os.getpid()} {os.getppid()} {os.environ['OMP_NUM_THREADS']} {os.getcwd()}\n")
    if clip.clip_id == "kills its process":
        os.kill(os.getpid(), signal.SIGKILL)
    if clip.clip_id == "kills its worker":
        os.kill(os.getppid(), signal.SIGKILL)
    if clip.clip_id == "hangs":
        time.sleep(600)
    time.sleep(0.02)
    return f"{clip.clip_id} {clip.video} {clip.audio} {clip.key}".encode() * 100
