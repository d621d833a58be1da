import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

STEP = """
import os, pathlib, sys, time, yaml
name, source, out = sys.argv[1:]
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
with open("journal.txt", "a") as journal:
    print(name, file=journal)
print(f"working on {name}", flush=True)
if name == params["broken"]:
    sys.exit(f"{name} cannot go on: mend it")
if name == params["endless"]:
    pathlib.Path("pid.txt").write_text(str(os.getpid()))
    time.sleep(600)
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(out).write_text(pathlib.Path(source).read_text() + f"{name} {params.get('rate')}\\n")
"""
GRAPH = """
stages:
  prepare:
    cmd: python step.py prepare raw.txt prepared.txt
    deps: [raw.txt]
    outs: [prepared.txt]
  train:
    matrix:
      dataset: [demo]
      fold: [1, 2]
    cmd: python step.py train-${item.fold} prepared.txt trained-${item.fold}.txt
    deps: [prepared.txt]
    params: [rate, broken]
    outs: ["trained-${item.fold}.txt"]
  other:
    cmd: python step.py other raw.txt other.txt
    deps: [raw.txt]
    outs: [other.txt]
  summarise:
    cmd: python step.py summarise trained-1.txt reports/demo/results.md
    deps: [trained-1.txt, trained-2.txt]
    outs: [reports/demo/results.md]
"""


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server of our own."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


class Project:
    """A real DVC project of five quick stages."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def set_params(self, rate: float = 0.1, broken: str = "", endless: str = "") -> None:
        """Steps whose name is `broken` fail, those whose name is `endless` do not end."""
        (self.root / "params.yaml").write_text(f"rate: {rate}\nbroken: '{broken}'\nendless: '{endless}'\n")

    def dvc(self, *arguments: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [sys.executable, "-m", "dvc", *arguments]
        environment = {**os.environ, "PATH": path}
        return subprocess.run(
            command, cwd=self.root, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def ran(self) -> list[str]:
        """The steps that ran since the last look, in order."""
        path = self.root / "journal.txt"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing ran yet; making one takes seconds."""
    root = tmp_path_factory.mktemp("project")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / "step.py").write_text(STEP)
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "raw.txt").write_text("raw\n")
    new = Project(root)
    new.dvc("init", "--quiet")
    new.set_params()
    return root


@pytest.fixture
def project(new_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of one's own in which nothing ran yet."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Project(shutil.copytree(new_project, tmp_path / "project"))
