"""A preparation stage on a Dask cluster that is ended by force."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import Project

DEADLINE_SECONDS = 200


@pytest.mark.slow
def test_ending_dvc_ends_every_process_of_the_stage(new_project: Project) -> None:
    params = new_project.params()
    params["compute"].update(engine="dask", num_processes=2)
    new_project.set_params(params)
    new_project.run("dvc", "repro", "manifest@demo")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    dvc = subprocess.Popen(
        ["dvc", "repro", "--single-item", "faces@demo"],
        cwd=new_project.folder,
        env={**os.environ, "PATH": path},
        start_new_session=True,
    )
    try:
        below = processes_once_clips_are_prepared(dvc)
    finally:
        os.killpg(dvc.pid, signal.SIGTERM)
        dvc.wait(60)
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not alive


def processes_once_clips_are_prepared(dvc: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All processes below dvc, as soon as both Dask workers have one for the clips."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and dvc.poll() is None:
        below = psutil.Process(dvc.pid).children(recursive=True)
        workers = {process.pid for process in below if "spawn_main" in " ".join(process.cmdline())}
        if sum(process.ppid() in workers for process in below if process.pid in workers) == 2:
            return below
        time.sleep(0.2)
    raise AssertionError("the stage did not come to preparing clips")
