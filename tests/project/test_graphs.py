"""The dvc.yaml of each dataset's folds is in line with params.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hicmae_core.config import load_params
from pipelines.graph.fold_files import check_graphs, write_graphs
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml", "folds/template.yaml", "folds/demo/dvc.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def change(project: Path, folds: dict[str, list[int]], **datasets: dict[str, Any]) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(
        yaml.safe_dump({**values, "folds": folds, "dataset": values["dataset"] | datasets})
    )


def plots_of(project: Path, name: str) -> dict[str, Any]:
    graph = yaml.safe_load((project / "folds" / name / "dvc.yaml").read_text())
    return {title: plot for entry in graph["plots"] for title, plot in entry.items()}


def test_plots_have_a_line_per_fold_and_suit_the_task(project: Path) -> None:
    change(project, {"demo": [2], "films": [1, 3]}, films={"corpus": "csv", "task": "regression", "num_folds": 3,
                                                           "targets": ["arousal"]})  # fmt: skip
    write_graphs(project, load_params(project / "params.yaml"))
    demo, films = plots_of(project, "demo"), plots_of(project, "films")
    assert list(demo["demo, fine-tuning loss"]["y"]) == ["../../models/finetune/demo/2/history.csv"]
    assert list(films["films, fine-tuning loss"]["y"]) == [
        f"../../models/finetune/films/{fold}/history.csv" for fold in (1, 3)
    ]
    assert demo["demo, predictions"]["template"] == "confusion"
    assert films["films, predictions"]["template"] == "scatter"


def test_datasets_that_were_changed_by_hand_are_told_with_the_mend(project: Path) -> None:
    check_graphs(project)
    change(project, {"demo": [1, 2]})
    check_graphs(project)  # folds come and go without the command
    change(project, {"more": [1]}, more={"corpus": "csv", "classes": ["x", "y"], "num_folds": 2})
    with pytest.raises(ValueError, match=r"names more, .* there for demo: run `python -m pipelines.project.datasets`"):
        check_graphs(project)
    write_graphs(project, load_params(project / "params.yaml"))
    check_graphs(project)


def test_a_pretraining_on_several_datasets_reads_all_of_them(project: Path) -> None:
    before = (project / "dvc.yaml").read_text()
    params, names = project / "params.yaml", ["demo", "demo_unlabelled"]
    params.write_text(params.read_text().replace("dataset: demo_unlabelled", f"dataset: [{', '.join(names)}]"))
    with pytest.raises(ValueError, match=r"names demo, demo_unlabelled, but the stage `pretrain`\s+in dvc.yaml reads"):
        check_graphs(project)
    write_graphs(project, load_params(params))
    check_graphs(project)
    deps = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["pretrain"]["deps"]
    assert deps[:6] == [
        path
        for name in names
        for path in (f"data/manifests/{name}.parquet", f"data/faces/{name}", f"data/audio/{name}")
    ]
    params.write_text(params.read_text().replace(f"[{', '.join(names)}]", "demo_unlabelled"))
    write_graphs(project, load_params(params))
    assert (project / "dvc.yaml").read_text() == before
