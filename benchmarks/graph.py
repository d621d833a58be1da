"""What DVC itself costs on the real graph with many datasets and folds, whose stages do nothing."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from hicmae.command import run
from hicmae_core.config import load_params
from pipelines.graph.fold_files import complete_folds, write_graphs

ROOT = Path(__file__).resolve().parent.parent
LICENSED = "licensed"
"""Begins every file that a stage which does nothing writes in place of clips, or of what shows them."""
_COLUMNS = ("actual", "predicted", "epoch", "total", "video", "audio", "contrastive", "train_loss")
_STUB = f"""
sum=$(cat params.yaml $(find $1 -type f 2>/dev/null | sort) | sha256sum)
for out in $2; do
  case $out in
    data/manifests/*|*.html|*reconstruction.png) mkdir -p $(dirname $out); echo "{LICENSED} $sum" > $out;;
    data/*) mkdir -p $out; echo "{LICENSED} $out $sum" > $out/part;;
    *.json) mkdir -p $(dirname $out); echo '{{"uar": 0.5}}' > $out;;
    *.csv) mkdir -p $(dirname $out); printf '{",".join(_COLUMNS)}\\n{",".join("1" * len(_COLUMNS))}\\n' > $out;;
    *) mkdir -p $(dirname $out); echo "$out $sum" > $out;;
  esac
done
"""


def make_project(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A DVC project with this repository's graph and code, in which each stage only pretends.

    What it pretends to write depends on its data and on params.yaml.

    Args:
        folder: New.
        change: Changes the parameters in place.
    """
    for name in ("hicmae_core", "hicmae", "stages", "folds"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "dvc.lock"))
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots_page.html"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "stub.sh").write_text(_STUB)
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(values)
    complete_folds(values)
    folds = {name: [*numbers] for name, numbers in values["folds"].items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(values | {"folds": folds}, sort_keys=False))
    for name in ("dvc.yaml", "folds/template.yaml"):
        graph = yaml.safe_load((ROOT / name).read_text())
        for stage in graph["stages"].values():
            _pretend(stage.get("do", stage))
        (folder / name).write_text(yaml.safe_dump(graph, sort_keys=False))
    write_graphs(folder, load_params(folder / "params.yaml"))
    for name in values["dataset"]:
        if not name.startswith("demo"):
            (folder / "data" / "raw" / name).mkdir(parents=True)
            (folder / "data" / "raw" / name / "clip.mp4").write_text(f"{LICENSED} {name}")
    for command in ("git init -q", "git add -A", "git -c user.name=b -c user.email=b@example.org commit -qm start"):
        subprocess.run(command.split(), cwd=folder, check=True)


def _pretend(stage: dict[str, Any]) -> None:
    outs = [_path(out) for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    data = [dep for dep in stage["deps"] if not dep.startswith(("stages/", "hicmae/", "hicmae_core/"))]
    stage["cmd"] = f"sh stub.sh '{' '.join(data)}' '{' '.join(outs)}'"


def _path(out: str | Mapping[str, Any]) -> str:
    return out if isinstance(out, str) else next(iter(out))


def main(
    datasets: Annotated[int, typer.Option(help="Datasets.")] = 9,
    folds: Annotated[int, typer.Option(help="Folds of each.")] = 5,
) -> None:
    """Print how long `dvc repro` takes when nothing, and when a parameter of fine-tuning, has changed."""

    def many(values: dict[str, Any]) -> None:
        demo = values["dataset"].pop("demo")
        names = [f"corpus_{number}" for number in range(datasets)]
        values["dataset"] |= {name: {**demo, "num_folds": folds} for name in names}

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        folder.mkdir()
        make_project(folder, many)
        _timed("first run", folder)
        _timed("nothing changed", folder)
        values = yaml.safe_load((folder / "params.yaml").read_text())
        for section, key, value in (("finetune", "layer_decay", 0.9), ("faces", "stride", 5)):
            values[section][key] = value
            (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
            _timed(f"{section}.{key} changed", folder)


def _timed(what: str, folder: Path) -> None:
    started, before = time.monotonic(), _children_seconds()
    told = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    seconds, cpu = time.monotonic() - started, _children_seconds() - before
    print(f"{what}: {told.count('Running stage')} stages ran, {seconds:.1f} s, {cpu:.1f} CPU-seconds", flush=True)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    run(main, "python -m benchmarks.graph", __doc__)
