"""One flow at a time in a project's folder, none that outlives its worker, and a Prefect server that answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from prefect.settings import PREFECT_API_URL

from hicmae.environment import proxy_of
from hicmae.folder_check import check_folder
from hicmae.tracking.sender import reason
from pipelines.flows import crash_reporter
from pipelines.graph.recover import protect_locks

_LOCK = Path(".dvc/tmp/flow.lock")
_POLL_SECONDS = 0.5

_TIMEOUT_SECONDS = 10
_PROXY_WANTS_A_PASSWORD = 407


@contextmanager
def workspace_lock(root: Path, log_line: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other flow is at work in the project; the kernel frees the place of one that was killed.

    Then each dvc.lock is copied, or put back if a kill has torn it.

    A process that a Prefect worker has started gets SIGTERM when the worker disappears, kill -9 included: nobody else
    would cancel the run. And when the process itself disappears, Prefect is notified.

    Raises:
        ValueError: If `root` is not a DVC project, or as `check_folder`.
    """
    if not (root / "dvc.yaml").is_file():
        raise ValueError(f"{root}: no dvc.yaml; run from the project's root")
    check_folder(root)
    if "PREFECT__FLOW_RUN_ID" in os.environ:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        _start_last_words(os.environ["PREFECT__FLOW_RUN_ID"])
    (root / _LOCK).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log_line(f"another flow is at work in {root}; this one begins when it has ended")
        lock.acquire(poll_interval=_POLL_SECONDS)
    try:
        for torn in protect_locks(root):
            log_line(f"{torn} was torn by a kill; its copy is back in place")
        yield
    finally:
        lock.release()


def _start_last_words(flow_run_id: str) -> None:
    subprocess.Popen(
        [sys.executable, "-I", crash_reporter.__file__, flow_run_id],
        cwd="/",
        stdin=subprocess.PIPE,  # closed when we end, however that happens
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def check_server() -> None:
    """See that the server answers; without `PREFECT_API_URL` a flow starts one of its own.

    Raises:
        ValueError: If it does not, with what to do.
    """
    url = PREFECT_API_URL.value()
    if not url:
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code < 500 and error.code != _PROXY_WANTS_A_PASSWORD:
            return  # it answers; what it wants is between it and Prefect
        why = f"{error.code} {error.reason}"
    except (OSError, ValueError) as error:
        if "certificate" in str(error).lower():
            return  # Prefect has settings for it
        why = reason(error)
    raise ValueError(
        f"the Prefect server at {url} cannot be reached{proxy_of(url)} ({why}): "
        "start it (`prefect server start`), or unset PREFECT_API_URL to go on without one"
    )
