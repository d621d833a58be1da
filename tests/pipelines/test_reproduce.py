import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.artifacts import Artifact
from prefect.settings import PREFECT_API_URL

from pipelines.reproduce import reproduce

pytestmark = pytest.mark.usefixtures("prefect_server")
ALL = ["prepare", "other", "train-1", "train-2", "summarise"]


def report() -> str:
    artifact = Artifact.get("reproduce")
    assert artifact is not None
    return str(artifact.data)


def test_the_flow_runs_what_changed_and_all_below_it(project, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("prefect.task_runs").addHandler(caplog.handler)
    try:
        first = reproduce(root=project.root, max_parallel=2, return_state=True)
    finally:
        logging.getLogger("prefect.task_runs").removeHandler(caplog.handler)
    assert first.is_completed(), first.message
    steps = project.ran()
    assert sorted(steps) == sorted(ALL)
    assert steps.index("prepare") < steps.index("train-1") < steps.index("summarise")
    assert "working on train-2" in caplog.text
    assert "| train@demo-1 | ran |" in report()
    assert "summarise 0.1" in report(), "the results are part of the report"

    second = reproduce(root=project.root, return_state=True)
    assert second.message == "5 cached"
    assert project.ran() == []
    assert "| summarise | up to date before the run | 0.0 |" in report()

    project.set_params(rate=0.2)
    assert reproduce(root=project.root, return_state=True).message == "2 cached, 3 ran"
    assert project.ran() == ["train-1", "train-2", "summarise"]


@pytest.mark.slow
def test_outputs_seen_before_are_restored_and_force_runs_them_again(project) -> None:
    for rate in (0.1, 0.2):
        project.set_params(rate=rate)
        project.dvc("repro", "--quiet")
    project.ran()
    project.set_params(rate=0.1)
    assert reproduce(root=project.root, return_state=True).message == "2 cached, 3 restored"
    assert project.ran() == []
    forced = reproduce(targets=("train@demo-1",), force=True, root=project.root, return_state=True)
    assert forced.message == "2 ran"
    assert project.ran() == ["prepare", "train-1"]


def test_a_failing_stage_fails_the_flow_with_its_last_lines(project) -> None:
    project.set_params(broken="train-1")
    state = reproduce(root=project.root, return_state=True)
    assert state.is_failed()
    assert state.message.startswith("stage train@demo-1 failed; to run it alone: dvc repro --single-item train@demo-1")
    assert "train-1 cannot go on: mend it" in state.message
    assert "summarise" not in project.ran()
    assert (project.root / "trained-2.txt").exists(), "a stage that does not depend on the failed one runs"
    assert "| summarise | waits for a stage that failed |" in report()


def test_a_mistaken_target_fails_the_flow_before_anything_runs(project) -> None:
    state = reproduce(targets=("trian",), root=project.root, return_state=True)
    assert state.is_failed()
    assert "no stage `trian`" in state.message
    assert project.ran() == []


def start_command_line(project, *arguments: str) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PREFECT_API_URL": PREFECT_API_URL.value()}
    command = [sys.executable, "-m", "pipelines.reproduce", *arguments]
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_the_command_line_reports_a_failure_in_a_few_words(project) -> None:
    project.set_params(broken="prepare")
    process = start_command_line(project, "--targets", "prepare")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "prepare cannot go on: mend it" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("ending", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_no_stage_outlives_the_flow(project, ending: signal.Signals) -> None:
    project.set_params(endless="prepare")
    process = start_command_line(project)
    pid_file = project.root / "pid.txt"
    deadline = time.monotonic() + 90
    while not (pid_file.exists() and pid_file.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(ending)
    process.communicate(timeout=60)
    assert process.returncode != 0
    stage = Path("/proc") / pid_file.read_text()
    deadline = time.monotonic() + 20
    while stage.exists():
        assert time.monotonic() < deadline, "the stage runs on"
        time.sleep(0.1)
    project.set_params()
    assert "prepare" in project.dvc("repro", "--single-item", "prepare"), "DVC's locks are free"
