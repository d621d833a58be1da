import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.testing.utilities import prefect_test_harness

from hicmae_core.config import load_params
from pipelines.graph.fold_files import write_graphs
from tests.conftest import ROOT, shrink
from tests.pipelines.served import Server, Site, with_deployments

STEP = """
import os, pathlib, sys, time, yaml
name, source, out = sys.argv[1:]
mishaps = yaml.safe_load(pathlib.Path("mishaps.yaml").read_text())
with open("journal.txt", "a") as journal:
    print(name, file=journal)
print(f"working on {name}", flush=True)
if name == mishaps["broken"]:
    sys.exit(f"{name} cannot go on: fix it")
if name == mishaps["endless"]:
    pathlib.Path("pid.txt").write_text(str(os.getpid()))
    time.sleep(600)
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
base_lr = yaml.safe_load(pathlib.Path("params.yaml").read_text())["finetune"]["base_lr"]
pathlib.Path(out).write_text(pathlib.Path(source).read_text() + f"{name} {base_lr}\\n")
"""
GRAPH = """
stages:
  quality:
    foreach: ${dataset}
    do:
      cmd: python step.py quality-${key} raw.txt prepared/${key}.txt
      deps: [raw.txt]
      outs: ["prepared/${key}.txt"]
  pretrain:
    cmd: python step.py pretrain prepared/${pretrain.dataset}.txt pretrained.txt
    deps: ["prepared/${pretrain.dataset}.txt"]
    params: [model.size, pretrain.epochs]
    outs: [pretrained.txt]
  summarise:
    foreach: ${folds}
    do:
      cmd: python step.py summarise trained/${key}/1.txt reports/${key}/results.md
      deps: ["trained/${key}"]
      outs: ["reports/${key}/results.md"]
"""
FOLDS = """
vars: [../../params.yaml]
stages:
  finetune:
    wdir: ../..
    matrix:
      fold: ${folds.DATASET}
    cmd: python step.py finetune-${item.fold} pretrained.txt trained/DATASET/${item.fold}.txt
    deps: [pretrained.txt, prepared/DATASET.txt]
    params: [finetune.base_lr, finetune.modality, finetune.checkpoint]
    outs: ["trained/DATASET/${item.fold}.txt"]
"""


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server of our own."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


class Project:
    """A real DVC project: stages of the real names, which take no time, under the real parameters."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def params(self) -> dict:
        return yaml.safe_load((self.root / "params.yaml").read_text())

    def set_params(self, base_lr: float) -> None:
        """Change what the fine-tunings and all below them depend on."""
        values = self.params()
        values["finetune"]["base_lr"] = base_lr
        self.write_params(values)

    def write_params(self, values: dict) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))

    def set_mishaps(self, broken: str = "", endless: str = "") -> None:
        """Steps whose name is `broken` fail, those whose name is `endless` do not end."""
        (self.root / "mishaps.yaml").write_text(f"broken: '{broken}'\nendless: '{endless}'\n")

    def environment(self) -> dict[str, str]:
        """In which commands of this environment and this repository run."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    def dvc(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=self.environment(), check=True, capture_output=True, text=True
        ).stdout

    def ran(self) -> list[str]:
        """The steps that ran since the last look, in order."""
        path = self.root / "journal.txt"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names


@pytest.fixture(scope="session")
def toy_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing ran yet; making one takes seconds."""
    root = tmp_path_factory.mktemp("project")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    shutil.copy(ROOT / ".gitignore", root)
    (root / "step.py").write_text(STEP)
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "raw.txt").write_text("raw\n")
    (root / "folds").mkdir()
    (root / "folds" / "template.yaml").write_text(FOLDS)
    new = Project(root)
    new.dvc("init", "--quiet")
    new.set_mishaps()
    values = shrink(yaml.safe_load((ROOT / "params.yaml").read_text()))
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    write_graphs(root, load_params(root / "params.yaml"))
    return root


@pytest.fixture
def project(toy_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of one's own in which nothing ran yet."""
    for variable in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    project = Project(shutil.copytree(toy_project, tmp_path / "project"))
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Prefect server."""
    server = Server(tmp_path_factory.mktemp("prefect"))
    yield server
    server.end()


@pytest.fixture
def site(project: Project, server: Server) -> Iterator[Site]:
    """The toy project, deployed, with a worker."""
    site = Site(with_deployments(project.root), server, project.environment())
    yield site
    site.end()
