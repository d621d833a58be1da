"""A change makes what depends on it out of date, and nothing else: the real graph, with stages that only pretend."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.graph import make_project

PREPARED = ("manifest", "faces", "audio", "quality")


def add_mine(values: dict[str, Any]) -> None:
    values["folds"] = {"demo": [1, 2]}
    values["dataset"]["mine"] = {**values["dataset"]["demo"], "corpus": "csv", "num_folds": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all is up to date, with the demo and one more dataset."""
    folder = tmp_path_factory.mktemp("staleness")
    make_project(folder, add_mine)
    ran(folder)
    return folder


def ran(folder: Path) -> set[str]:
    """The stages that `dvc repro` runs, by short names."""
    told = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    names = re.findall(r"Running stage '(?:folds/(\w+)/dvc.yaml:)?([^']+)'", told.stdout)
    return {f"{name.replace('@', f'@{dataset}-')}" if dataset else name for dataset, name in names}


def folds(*stages: str) -> set[str]:
    return {f"{stage}@{fold}" for stage in stages for fold in ("demo-1", "demo-2", "mine-1")}


def summaries() -> set[str]:
    return {"summarise@demo", "summarise@mine"}


def append(path: Path) -> None:
    with open(path, "a") as file:
        file.write("\n# changed\n")


def set_key(folder: Path, section: str, key: str, value: object) -> None:
    values = yaml.safe_load((folder / "params.yaml").read_text())
    values[section][key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


CHANGES: list[tuple[Callable[[Path], None], set[str]]] = [
    (lambda folder: append(folder / "hicmae_core/finetuning/finetune.py"), folds("finetune")),  # with the same result
    (lambda folder: append(folder / "hicmae_core/evaluation/prediction.py"), folds("evaluate") | summaries()),
    (lambda folder: append(folder / "hicmae_core/reports/figures.py"),
     summaries() | {f"quality@{name}" for name in ("demo", "demo_unlabelled", "mine")}),
    (lambda folder: append(folder / "hicmae/tracking/stage_runs.py"), set()),
    (lambda folder: append(folder / "data/raw/mine/clip.mp4"),
     {f"{stage}@mine" for stage in (*PREPARED, "summarise")} | {"finetune@mine-1", "evaluate@mine-1"}),
    (lambda folder: set_key(folder, "evaluate", "num_segments", 1), folds("evaluate") | summaries()),
    (lambda folder: set_key(folder, "finetune", "epochs", 9), folds("finetune", "evaluate") | summaries()),
    (lambda folder: set_key(folder, "compute", "num_workers", 1), set()),
    (lambda folder: set_key(folder, "folds", "demo", [1]), {"summarise@demo"}),
]  # fmt: skip


@pytest.mark.slow
def test_what_a_change_makes_out_of_date(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for change, expected in CHANGES:
        change(project)
        stages = ran(project)
        assert stages == expected
        assert ran(project) == set()
