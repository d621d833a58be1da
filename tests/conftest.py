"""Shared fixtures."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hicmae_core.config import load_params
from pipelines.graph.fold_files import write_graphs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the authors' numbers."""
    return ROOT / "tests" / "golden"


def shrink(values: dict) -> dict:
    """The demo's parameters, made small enough for a test; every stage still runs for real."""
    values["folds"] = {"demo": [1, 2]}
    values["corpus"].update(
        num_speakers=4, num_takes=1, num_unlabelled_speakers=2, num_unlabelled_clips=8, min_seconds=2.0, max_seconds=2.4
    )
    values["model"].update(image_size=32, num_frames=8, frame_stride=6)
    values["pretrain"].update(epochs=2, warmup_epochs=1, batch_size=4)
    values["finetune"].update(epochs=2, warmup_epochs=1, batch_size=4)
    values["summarise"].update(bootstrap_samples=100)
    return values


class Project:
    """A copy of this repository with small parameters, in which commands run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m ...`` or ``dvc ...`` in the project."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        result = subprocess.run(
            command, cwd=self.folder, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True
        )
        if check:
            assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
        return result

    def params(self) -> dict:
        """What params.yaml holds."""
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def set_params(self, values: dict) -> None:
        """Replace params.yaml."""
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.fixture
def new_project(tmp_path: Path) -> Project:
    """A fresh copy of the repository in which nothing has run."""
    return copy_repository(tmp_path / "project")


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which ``dvc repro`` has run the whole graph; tests may look and add, but leave results alone."""
    project = copy_repository(tmp_path_factory.mktemp("e2e") / "project")
    project.run("dvc", "repro")
    return project


def copy_repository(folder: Path) -> Project:
    """Copy the tracked and new files, with small parameters, into a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file() and Path(name).name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.set_params(shrink(project.params()))
    write_graphs(folder, load_params(folder / "params.yaml"))
    project.run("git", "init", "-q")
    project.run("git", "config", "user.name", "test")  # DVC's experiments want one in git's configuration
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "start")
    return project


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store; making one takes seconds."""
    from mlflow import MlflowClient  # takes seconds to load

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a store yet."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    manifests = tmp_path / "data" / "manifests"
    manifests.mkdir(parents=True)
    for name in ("demo", "demo_unlabelled"):
        pd.DataFrame({"clip_id": ["a", "b", name]}).to_parquet(manifests / f"{name}.parquet")
    for variable in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "RANK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(bare_project: Path, empty_store: Path) -> Path:
    """A project with an empty store."""
    shutil.copy(empty_store, bare_project / "mlflow.db")
    return bare_project
