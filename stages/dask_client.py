"""Clips prepared on a Dask cluster, as the tasks of a Prefect flow: the one module of the stages that knows Prefect.

A task is a chunk of clips. On its Dask worker a process of `hicmae_core.data.pool` does the work, so a clip that
crashes or hangs costs itself alone, as on one machine. A Dask worker that dies costs time: Dask hands its chunks to
the others.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import islice
from uuid import uuid4

from distributed import Client, KilledWorker, LocalCluster
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect_dask import DaskTaskRunner

from hicmae_core.data.pool import ClipFailure, ClipFiles, ClipWork, RunClips
from stages import supervisor
from stages.dask_worker import Job, Results, SealedWork, installation, prepare_here, release

_MAX_CLIPS_PER_CHUNK = 64
_MIN_CHUNKS_PER_WORKER = 8
_CHUNKS_IN_FLIGHT_PER_WORKER = 2
_CONNECT_SECONDS = 60
_SERVER_SECONDS = 120
_LOCAL_WORKER_ENVIRONMENT = {"PREFECT_LOGGING_LEVEL": "WARNING"}  # the progress bar tells what is done


def on_dask(address: str | None, num_workers: int, timeout_seconds: float) -> RunClips:
    """A runner on a Dask cluster.

    Only some chunks per worker are in flight, so results do not pile up behind a slow one.

    Args:
        address: The scheduler's; None starts a cluster on this machine for the time of the run.
        num_workers: Workers of that cluster; 0 means one per CPU core.
        timeout_seconds: A clip that takes longer is given up.
    """
    return partial(_run, address, num_workers, timeout_seconds)


def _run(
    address: str | None, num_workers: int, timeout_seconds: float, work: ClipWork, clips: Sequence[ClipFiles]
) -> Iterator[bytes | ClipFailure]:
    if not clips:
        return
    num_workers = min(num_workers or len(os.sched_getaffinity(0)), len(clips))
    with _prefect(address), _dask(address, num_workers) as client:
        job = Job(uuid4().hex, SealedWork(work), timeout_seconds, os.getcwd(), installation())
        _input.set(_Input(client, job, clips))
        results = prepare_clips.with_options(task_runner=DaskTaskRunner(address=client.scheduler.address))(len(clips))
        try:
            yield from islice(results, len(clips) - 1)
            (last,) = results  # the flow has ended when the stage, which may not ask for more, has all results
        except GeneratorExit:
            with suppress(_GivenUpError):
                results.throw(_GivenUpError("the stage ended before all clips were prepared"))
            raise
        finally:
            client.run(release, job.run, on_error="ignore")
    yield last


class _GivenUpError(Exception):
    """Tells Prefect why a flow ends early."""


@dataclass(frozen=True)
class _Input:
    """What the flow works on; no parameter of it, for Prefect sends those to its server and along with each task."""

    client: Client
    job: Job
    clips: Sequence[ClipFiles]


_input: ContextVar[_Input] = ContextVar("input")

# Prefect pickles flow and task by value into each submission, so they are little more than names.


@flow(persist_result=False)
def prepare_clips(num_clips: int) -> Iterator[bytes | ClipFailure]:
    """Yield the results of the clips of `_input` in order."""
    yield from _submit_in_order(num_clips)


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def prepare_chunk(name: str, job: Job, clips: Sequence[ClipFiles]) -> Results:
    """Prepare a chunk of clips."""
    return prepare_here(job, clips)


def _submit_in_order(num_clips: int) -> Iterator[bytes | ClipFailure]:
    given = _input.get()
    num_workers = len(given.client.nthreads())
    size = max(1, min(_MAX_CLIPS_PER_CHUNK, num_clips // (num_workers * _MIN_CHUNKS_PER_WORKER)))
    flight: deque[tuple[Sequence[ClipFiles], PrefectFuture[Results]]] = deque()
    for start in range(0, num_clips, size):
        chunk = list(given.clips[start : start + size])
        name = f"clips {start + 1} to {start + len(chunk)}"
        flight.append((chunk, prepare_chunk.submit(name, given.job, chunk)))
        if len(flight) > _CHUNKS_IN_FLIGHT_PER_WORKER * len(given.client.nthreads()):  # workers come and go
            yield from _results(given.job, *flight.popleft())
    while flight:
        yield from _results(given.job, *flight.popleft())


def _results(job: Job, clips: Sequence[ClipFiles], future: PrefectFuture[Results]) -> Results:
    """A chunk's results. If worker after worker died with it, its clips are tried one by one to find the one."""
    try:
        return future.result()
    except KilledWorker:
        if len(clips) == 1:
            return [ClipFailure("crashed", "every Dask worker that prepared it died: out of memory?")]
        alone = (_results(job, [clip], prepare_chunk.submit(clip.clip_id, job, [clip])) for clip in clips)
        return [result for results in alone for result in results]


@contextmanager
def _prefect(address: str | None) -> Iterator[None]:
    """The Prefect server that is configured; for a cluster on this machine else one that lasts as long as the run."""
    if PREFECT_API_URL.value():
        yield
    elif address is None:
        settings = {PREFECT_LOGGING_TO_API_ENABLED: False}  # nobody reads there
        with _prefect_server() as url, temporary_settings({PREFECT_API_URL: url, **settings}):
            yield
    else:
        raise ValueError(
            "compute.cluster needs a Prefect server that its workers reach: start one with `prefect server start "
            "--host 0.0.0.0` and set PREFECT_API_URL=http://HOST:4200/api"
        )


@contextmanager
def _prefect_server() -> Iterator[str]:
    """A server's URL. It is out of Ctrl-C's reach, for a flow waits for its server, and ends when this process does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-services",
        "--no-ui",
    ]
    with subprocess.Popen(
        [sys.executable, "-I", supervisor.__file__, "2", sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:
        assert server.stdin is not None
        with server.stdin:
            url = f"http://127.0.0.1:{port}/api"
            deadline = time.monotonic() + _SERVER_SECONDS
            while not _answers(f"{url}/health"):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Prefect's server did not start; this tells why: python {' '.join(command)}")
                time.sleep(0.2)
            yield url


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def _dask(address: str | None, num_workers: int) -> Iterator[Client]:
    """A client of the cluster at `address`, or of one with `num_workers` on this machine."""
    with ExitStack() as stack:
        logging.getLogger("distributed").setLevel(logging.WARNING)
        if address is None:
            cluster = LocalCluster(
                n_workers=num_workers,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
                env=_LOCAL_WORKER_ENVIRONMENT,
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
