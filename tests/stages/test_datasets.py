"""A folder of clips becomes a dataset of the project."""

from pathlib import Path

import pandas as pd
import pytest

from hicmae_core.config import Params, load_params
from stages.datasets import add_dataset, evaluate_alone, prepare_too
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
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
        assert params.prepared == ("demo_unlabelled", "demo", "mine")
        assert (params.dataset["mine"].classes, params.dataset["mine"].num_folds) == (("calm", "sad"), 3)
        assert (project / "data/raw/mine/manifest.csv").samefile(folder / "manifest.csv")
    assert "# datasets whose clips are prepared" in (project / "params.yaml").read_text()
    add_dataset(project, "more", folder_with(tmp_path / "more"))
    assert params_of(project).dataset["more"].task == "unlabelled"


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
        prepare_too(project, "mine")
    with pytest.raises(ValueError, match="folds goes up to 9"):
        evaluate_alone(project, "demo", [9], {})
    assert (project / "params.yaml").read_bytes() == before


def test_one_dataset_is_evaluated_and_what_is_as_it_was_keeps_the_file(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    evaluate_alone(project, "demo", [], {"modality": "both"})
    prepare_too(project, "demo")
    assert (project / "params.yaml").read_bytes() == before
    evaluate_alone(project, "demo", [2], {"modality": "audio"})
    assert (params_of(project).folds, params_of(project).finetune.modality) == ((2,), "audio")
