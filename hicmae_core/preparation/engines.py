"""Where clips are prepared: in processes of this machine, or on a Dask cluster.

A Dask task is a chunk of clips. On its worker a process of `pool` does the work, so a clip that crashes or hangs costs
itself alone, as on one machine. A Dask worker that dies costs time: Dask hands its chunks to the others.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import uuid4

from hicmae_core.code import code_of
from hicmae_core.config import ComputeParams, PreparationParams
from hicmae_core.files import fingerprint
from hicmae_core.preparation.pool import ClipFailure, ClipFiles, ClipProcesses, ClipWork, RunClips, in_processes

if TYPE_CHECKING:
    from distributed import Client, Future

_MAX_CLIPS_PER_CHUNK = 64
_MIN_CHUNKS_PER_WORKER = 8
_CHUNKS_IN_FLIGHT_PER_WORKER = 2
_CONNECT_SECONDS = 60
_RUNS_PER_WORKER = 2
_LIBRARIES = ("av", "numpy", "opencv-python", "torch", "torchaudio")

Results = list[bytes | ClipFailure]


def runner_for(compute: ComputeParams, preparation: PreparationParams) -> RunClips:
    """What runs the per-clip function of a preparation stage; the results do not depend on it."""
    if compute.engine == "local":
        return in_processes(compute.num_processes, preparation.clip_timeout_seconds)
    return on_dask(compute.cluster, compute.num_processes, preparation.clip_timeout_seconds)


def on_dask(address: str | None, num_workers: int, timeout_seconds: float) -> RunClips:
    """A runner on a Dask cluster.

    Only some chunks per worker are in flight, so results do not pile up behind a slow one.

    Args:
        address: The scheduler's; None starts a cluster on this machine for the time of the run.
        num_workers: Workers of that cluster; 0 means one per CPU core.
        timeout_seconds: A clip that takes longer is given up.
    """
    return partial(_run, address, num_workers, timeout_seconds)


class SealedWork:
    """The per-clip function, unpickled where it is called, so that a Dask worker just hands it on."""

    def __init__(self, work: ClipWork) -> None:
        self._pickled = pickle.dumps(work)

    def __call__(self, clip: ClipFiles) -> bytes:
        return self._work(clip)

    @cached_property
    def _work(self) -> ClipWork:
        result: ClipWork = pickle.loads(self._pickled)
        return result


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


def _run(
    address: str | None, num_workers: int, timeout_seconds: float, work: ClipWork, clips: Sequence[ClipFiles]
) -> Iterator[bytes | ClipFailure]:
    if not clips:
        return
    num_workers = min(num_workers or len(os.sched_getaffinity(0)), len(clips))
    with _dask(address, num_workers) as client:
        job = Job(uuid4().hex, SealedWork(work), timeout_seconds, os.getcwd(), installation())
        try:
            yield from _in_order(client, job, clips)
        finally:
            client.run(release, job.run, on_error="ignore")


def _in_order(client: Client, job: Job, clips: Sequence[ClipFiles]) -> Iterator[bytes | ClipFailure]:
    size = max(1, min(_MAX_CLIPS_PER_CHUNK, len(clips) // (len(client.nthreads()) * _MIN_CHUNKS_PER_WORKER)))
    flight: deque[tuple[Sequence[ClipFiles], Future[Results]]] = deque()
    for start in range(0, len(clips), size):
        chunk = clips[start : start + size]
        flight.append((chunk, _submit(client, job, chunk)))
        if len(flight) > _CHUNKS_IN_FLIGHT_PER_WORKER * len(client.nthreads()):  # workers come and go
            yield from _results(client, job, *flight.popleft())
    while flight:
        yield from _results(client, job, *flight.popleft())


def _submit(client: Client, job: Job, clips: Sequence[ClipFiles]) -> Future[Results]:
    return client.submit(prepare_here, job, list(clips), key=f"clips from {clips[0].clip_id}-{uuid4().hex}", pure=False)


def _results(client: Client, job: Job, clips: Sequence[ClipFiles], future: Future[Results]) -> Results:
    """A chunk's results. If worker after worker died with it, its clips are tried one by one to find the one."""
    from distributed import KilledWorker

    try:
        results: Results = future.result()
    except KilledWorker:
        if len(clips) == 1:
            return [ClipFailure("crashed", "every Dask worker that prepared it died: out of memory?")]
        alone = (_results(client, job, [clip], _submit(client, job, [clip])) for clip in clips)
        return [result for results in alone for result in results]
    return results


@contextmanager
def _dask(address: str | None, num_workers: int) -> Iterator[Client]:
    """A client of the cluster at `address`, or of one with `num_workers` on this machine."""
    from distributed import Client, LocalCluster  # these take seconds to load

    with ExitStack() as stack:
        logging.getLogger("distributed").setLevel(logging.WARNING)
        if address is None:
            cluster = LocalCluster(
                n_workers=num_workers, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0"
            )
            address = stack.enter_context(cluster).scheduler_address
        try:
            client = stack.enter_context(Client(address, timeout=_CONNECT_SECONDS, set_as_default=False))
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(
                f"compute.cluster: no Dask scheduler with a worker answers at {address}: {error}. Start them with "
                "`python -m dask scheduler` and `python -m dask worker`, or set compute.cluster to null"
            ) from None
        yield client


def installation() -> str:
    """A name for the code and the libraries that prepare clips here: they have to be the same on every worker."""
    versions = [f"{name} {version(name)}" for name in _LIBRARIES]
    return fingerprint(code_of("preparation.rows"), versions)


# What follows runs on the Dask workers.

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
