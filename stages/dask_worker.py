"""What a Dask worker does with a chunk of clips. It loads little; what the clips need is loaded by its process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import hicmae_core
from hicmae_core.data.pool import ClipFailure, ClipFiles, ClipProcesses, ClipWork
from hicmae_core.files import fingerprint

_RUNS_PER_WORKER = 2
_LIBRARIES = ("av", "numpy", "opencv-python", "torch", "torchaudio")

Results = list[bytes | ClipFailure]


class SealedWork:
    """The per-clip function, unpickled where it is called, so that a Dask worker just hands it on."""

    def __init__(self, work: ClipWork) -> None:
        self._pickled = pickle.dumps(work)

    def __call__(self, clip: ClipFiles) -> bytes:
        return self._work(clip)

    @cached_property
    def _work(self) -> ClipWork:
        return pickle.loads(self._pickled)


@dataclass(frozen=True)
class Job:
    """What a Dask worker has to know of a run.

    Attributes:
        run: Its name, unlike that of any other run.
        work: Prepares a clip.
        timeout_seconds: A clip that takes longer is given up.
        folder: The project's root, to which the clips' paths are relative.
        installation: `installation` where the run was started.
    """

    run: str
    work: SealedWork
    timeout_seconds: float
    folder: str
    installation: str


def installation() -> str:
    """A name for the code and the libraries that prepare clips here: they have to be the same on every worker."""
    library = Path(hicmae_core.__file__).parent
    versions = [f"{name} {version(name)}" for name in _LIBRARIES]
    return fingerprint([library / "media", library / "data" / "rows.py"], versions)


_processes: dict[str, ClipProcesses] = {}
_processes_lock = threading.Lock()


def prepare_here(job: Job, clips: Sequence[ClipFiles]) -> Results:
    """Prepare clips in this Dask worker's process for the run, which stays for the next chunk.

    Raises:
        ValueError: If clips would come out differently here.
    """
    with _processes_lock:
        os.chdir(job.folder)
        if job.run not in _processes:
            _check(job)
            while len(_processes) >= _RUNS_PER_WORKER:  # a run that was killed released nothing
                _processes.pop(next(iter(_processes))).stop()
            multiprocessing.current_process().daemon = False  # Dask's workers are daemons, which may have no children
            _processes[job.run] = ClipProcesses(job.work, 1, job.timeout_seconds)
        return list(_processes[job.run].run(clips))


def _check(job: Job) -> None:
    if installation() != job.installation:
        raise ValueError(
            f"the Dask worker on {socket.gethostname()} has another version of this project than the one that the run "
            f"began with, or of one of {', '.join(_LIBRARIES)}: install the same ones and run the stage again"
        )


def release(run: str) -> None:
    """End a run's process on this Dask worker, once the chunk that it may be at is done."""

    def stop() -> None:
        with _processes_lock:
            if run in _processes:
                _processes.pop(run).stop()

    threading.Thread(target=stop, daemon=True).start()
