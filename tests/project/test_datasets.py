"""A folder of clips becomes a dataset of the project."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hicmae_core.config import Params, load_params
from pipelines.project.datasets import add_dataset, evaluate_alone, known_dataset
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("params.yaml", "dvc.yaml", "folds/template.yaml", "folds/demo/dvc.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text((ROOT / name).read_text())
    return root


def params_of(project: Path) -> Params:
    return load_params(project / "params.yaml")


def folder_with(path: Path, **columns: list[object]) -> Path:
    path.mkdir()
    pd.DataFrame({"clip_id": ["a", "b", "c"], "video": ["a.mp4", "b.mp4", "c.mp4"], **columns}).to_csv(
        path / "manifest.csv", index=False
    )
    return path


def test_a_table_says_how_its_folder_is_read(project: Path, tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "clips", label=["sad", "calm", "sad"], fold=[1, 2, 3])
    for _ in range(2):  # the second time nothing is left to do
        add_dataset(project, "mine", folder)
        params = params_of(project)
        assert params.folds == {"demo": (1, 2, 3, 4), "mine": (1, 2, 3)}
        assert "matrix:\n      fold: ${folds.mine}" in (project / "folds/mine/dvc.yaml").read_text()
        assert (params.dataset["mine"].classes, params.dataset["mine"].num_folds) == (("calm", "sad"), 3)
        assert (project / "data/raw/mine/manifest.csv").samefile(folder / "manifest.csv")
    assert "# datasets that are fine-tuned and evaluated" in (project / "params.yaml").read_text()
    add_dataset(project, "more", folder_with(tmp_path / "more"))
    assert params_of(project).dataset["more"].task == "unlabelled"


@pytest.mark.parametrize(("name", "num_folds"), [("t08", 12), ("t09", 2), ("t14", 2)])
def test_folds_are_numbers_and_a_missing_label_is_no_class(
    project: Path, tmp_path: Path, name: str, num_folds: int
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "manifest.csv").write_text((ROOT / f"tests/corpora/tables/{name}.csv").read_text())
    add_dataset(project, "mine", folder)
    dataset = params_of(project).dataset["mine"]
    assert (dataset.num_folds, dataset.classes) == (num_folds, ("angry", "calm", "happy"))


def test_a_published_corpus_is_known_by_its_name(project: Path, tmp_path: Path) -> None:
    add_dataset(project, "crema_d", tmp_path)
    assert params_of(project).dataset["crema_d"].num_folds == 5


def test_mistakes_are_told_and_change_nothing(project: Path, tmp_path: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    other = project / "data" / "raw" / "taken"
    other.mkdir(parents=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        add_dataset(project, "mine", tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"`mine` is no published corpus, and .*manifest\.csv is not there"):
        add_dataset(project, "mine", empty)
    with pytest.raises(ValueError, match="labels need a column fold"):
        add_dataset(project, "mine", folder_with(tmp_path / "clips", label=["x", "y", "x"]))
    with pytest.raises(ValueError, match="taken is there already"):
        add_dataset(project, "taken", folder_with(tmp_path / "clips2"))
    with pytest.raises(ValueError, match=r"no dataset `mine` in params\.yaml; there are: demo"):
        known_dataset(project, "mine")
    with pytest.raises(ValueError, match=r"folds\.demo goes up to 9"):
        evaluate_alone(project, "demo", [9], {})
    assert (project / "params.yaml").read_bytes() == before


def test_one_dataset_is_evaluated_and_what_is_as_it_was_keeps_the_file(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    evaluate_alone(project, "demo", [], {"modality": "both"})
    assert (project / "params.yaml").read_bytes() == before
    evaluate_alone(project, "demo", [2], {"modality": "audio"})
    assert (params_of(project).folds, params_of(project).finetune.modality) == ({"demo": (2,)}, "audio")


def test_the_command_enters_a_new_entry_and_forgets_one_that_is_gone(project: Path) -> None:
    def command() -> str:
        told = subprocess.run(
            [sys.executable, "-m", "pipelines.project.datasets"],
            cwd=project, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return told.stderr

    path = project / "params.yaml"
    before = path.read_text()
    assert command() == "fine-tuned and evaluated: demo in 4 folds\n"
    assert path.read_text() == before
    assert (project / "folds/demo/dvc.yaml").read_text() == (ROOT / "folds/demo/dvc.yaml").read_text()

    values = yaml.safe_load(before)
    values["dataset"]["mine"] = {"corpus": "csv", "classes": ["x", "y"], "num_folds": 3}
    path.write_text(yaml.safe_dump(values))
    assert command() == "fine-tuned and evaluated: demo in 4 folds, mine in 3 folds\n"
    assert params_of(project).folds["mine"] == (1, 2, 3)

    del values["dataset"]["demo"]
    path.write_text(yaml.safe_dump(values))
    assert command() == "fine-tuned and evaluated: mine in 3 folds\n"
    assert [found.parent.name for found in project.glob("folds/*/dvc.yaml")] == ["mine"]
