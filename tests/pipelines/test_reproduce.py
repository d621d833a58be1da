import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from prefect.artifacts import Artifact
from prefect.settings import PREFECT_API_URL

from pipelines.flows.reproduce import reproduce

pytestmark = pytest.mark.usefixtures("prefect_server")
ALL = ["quality-demo", "quality-demo_unlabelled", "pretrain", "finetune-1", "finetune-2", "summarise"]


def report() -> str:
    artifact = Artifact.get("reproduce")
    assert artifact is not None
    return str(artifact.data)


def test_the_flow_runs_what_changed_and_all_below_it(project, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("prefect.task_runs").addHandler(caplog.handler)
    try:
        first = reproduce(max_parallel=2, return_state=True)
    finally:
        logging.getLogger("prefect.task_runs").removeHandler(caplog.handler)
    assert first.is_completed(), first.message
    steps = project.ran()
    assert sorted(steps) == sorted(ALL)
    assert steps.index("pretrain") < steps.index("finetune-1") < steps.index("summarise")
    assert "working on finetune-2" in caplog.text
    assert "| finetune@demo-1 | ran |" in report()
    assert "summarise 0.01" in report(), "the results are part of the report"
    progress = Artifact.get("reproduce-progress")
    assert (progress.data, progress.description) == (100, "6 of 6 stages done")

    second = reproduce(return_state=True)
    assert second.message == "6 cached"
    assert project.ran() == []
    assert "| summarise@demo | up to date before the run | 0.0 |" in report()
    rows = json.loads(Artifact.get("reproduce-stages").data)
    assert [row["stage"] for row in rows][-1] == "summarise@demo"

    project.set_params(base_lr=0.2)
    assert reproduce(return_state=True).message == "3 cached, 3 ran"
    assert project.ran() == ["finetune-1", "finetune-2", "summarise"]


@pytest.mark.slow
def test_outputs_seen_before_are_restored_and_force_runs_them_again(project) -> None:
    for base_lr in (0.1, 0.2):
        project.set_params(base_lr=base_lr)
        project.dvc("repro", "--quiet")
    project.ran()
    project.set_params(base_lr=0.1)
    assert reproduce(return_state=True).message == "3 cached, 3 restored"
    assert project.ran() == []
    forced = reproduce(targets=("finetune@demo-1",), force=True, return_state=True)
    assert forced.message == "4 ran"
    assert project.ran() == ["quality-demo", "quality-demo_unlabelled", "pretrain", "finetune-1"]


def test_a_failing_stage_fails_the_flow_with_its_last_lines(project) -> None:
    project.set_mishaps(broken="finetune-1")
    state = reproduce(return_state=True)
    assert state.is_failed()
    assert state.message.startswith(
        "stage finetune@demo-1 failed; to run it alone: dvc repro --single-item folds/demo/dvc.yaml:finetune@1"
    )
    assert "finetune-1 cannot go on: fix it" in state.message
    assert "summarise" not in project.ran()
    assert (project.root / "trained/demo/2.txt").exists(), "a stage that does not depend on the failed one runs"
    assert "| summarise@demo | waits for a stage that failed |" in report()


def test_a_mistaken_target_fails_the_flow_before_anything_runs(project) -> None:
    state = reproduce(targets=("trian",), return_state=True)
    assert state.is_failed()
    assert "no stage `trian`" in state.message
    assert project.ran() == []


def start_command_line(project, *arguments: str) -> subprocess.Popen[str]:
    environment = {**project.environment(), "PREFECT_API_URL": PREFECT_API_URL.value()}
    command = [sys.executable, "-m", "pipelines.flows.reproduce", *arguments]
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_the_command_line_reports_a_failure_in_a_few_words(project) -> None:
    project.set_mishaps(broken="quality-demo")
    process = start_command_line(project, "--targets", "quality")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "quality-demo cannot go on: fix it" in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_stage_outlives_the_flow(project, ending: signal.Signals) -> None:
    project.set_mishaps(endless="pretrain")
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
    project.set_mishaps()
    assert "pretrain" in project.dvc("repro", "--single-item", "pretrain"), "DVC's locks are free"


@pytest.mark.slow
def test_many_stages_at_once_leave_a_whole_lock(project) -> None:
    """The experiment behind `--wait-for-lock` and `--single-item`: eight processes of DVC in one workspace."""
    values = project.params()
    values["dataset"]["demo"]["num_folds"] = 8
    project.write_params({**values, "folds": {"demo": list(range(1, 9))}})
    for base_lr in (0.1, 0.2, 0.3):
        project.set_params(base_lr)
        state = reproduce(max_parallel=8, return_state=True)
        assert state.is_completed(), state.message
        steps = project.ran()
        assert len(steps) == len(set(steps)), "no stage ran twice"
        assert {f"finetune-{fold}" for fold in range(1, 9)} <= set(steps)
        locks = [yaml.safe_load((project.root / name).read_text()) for name in ("dvc.lock", "folds/demo/dvc.lock")]
        assert [len(lock["stages"]) for lock in locks] == [4, 8]
        assert "up to date" in project.dvc("status")
