"""``dvc repro`` after its training stage was killed: the stage goes on, in the same MLflow run, to the same model."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tests.conftest import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
MODEL = "models/pretrain/model.safetensors"


@pytest.fixture
def project(finished_project: Project, tmp_path: Path) -> Project:
    """A finished project of one's own, whose pre-training has become longer and often writes a checkpoint."""
    copy = Project(shutil.copytree(finished_project.folder, tmp_path / "project", symlinks=True))
    set_params(copy, pretrain={"epochs": 30}, compute={"checkpoint_every_minutes": 0, "log_every_steps": 1})
    return copy


def set_params(project: Project, **sections: dict[str, object]) -> None:
    values = project.params()
    for name, keys in sections.items():
        values[name].update(keys)
    project.set_params(values)


def kill_the_stage(project: Project, when: Callable[[], bool]) -> str:
    """Let ``dvc repro pretrain`` run until something is so, then kill the stage, not DVC; what was told till then."""
    log = project.folder / "log.txt"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with open(log, "w") as handle:
        dvc = subprocess.Popen(
            ["dvc", "repro", "pretrain"], cwd=project.folder, env=environment, stdout=handle, stderr=handle
        )
    deadline = time.monotonic() + 300
    while not when():
        assert dvc.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for process in psutil.Process(dvc.pid).children(recursive=True):
        if "stages.pretrain" in process.cmdline():
            process.send_signal(signal.SIGKILL)
    assert dvc.wait(timeout=100) != 0
    return log.read_text()


def pretraining_runs(project: Project) -> list[str]:
    """The runs of pre-trainings in MLflow, the newest first."""
    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pretraining")
    assert experiment is not None
    return [run.info.run_id for run in client.search_runs([experiment.experiment_id])]


def steps_in_mlflow(project: Project, run_id: str) -> list[int]:
    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    return [metric.step for metric in client.get_metric_history(run_id, "step/total")]


def test_a_killed_stage_goes_on(project: Project) -> None:
    checkpoints = project.folder / "checkpoints"
    before = pretraining_runs(project)
    kill_the_stage(project, lambda: any(checkpoints.glob("pretrain-*/0000000[5-9]-*.pt")))
    assert not (project.folder / MODEL).exists()
    (interrupted,) = checkpoints.glob("pretrain-*")
    (run_id, *_) = pretraining_runs(project)
    assert run_id not in before

    base_lr = project.params()["pretrain"]["base_lr"]
    set_params(project, pretrain={"base_lr": base_lr / 2})
    others = lambda: [path for path in checkpoints.glob("pretrain-*/0*.pt") if path.parent != interrupted]  # noqa: E731
    told = kill_the_stage(project, lambda: bool(others()))
    assert f"pretrain.base_lr ({base_lr} -> {base_lr / 2}) changed" in told
    assert f"in checkpoints/{interrupted.name} was interrupted, so this one starts afresh" in told

    set_params(project, pretrain={"base_lr": base_lr})
    told = project.run("dvc", "repro", "pretrain").stderr
    assert f"resuming the interrupted training in checkpoints/{interrupted.name}" in told
    resumed = re.search(r"going on after step (\d+) of (\d+)", told)
    assert resumed is not None
    done, num_steps = int(resumed[1]), int(resumed[2])
    assert done >= 5
    assert not interrupted.exists()

    assert len(pretraining_runs(project)) == len(before) + 2  # this one, and that of the other learning rate
    assert sorted(steps_in_mlflow(project, run_id)) == list(range(num_steps))

    model = (project.folder / MODEL).read_bytes()
    told = project.run("dvc", "repro", "--force", "--single-item", "pretrain").stderr
    assert "going on after" not in told
    assert (project.folder / MODEL).read_bytes() == model
