"""Flows that change parameters before they bring stages up to date."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipelines.flows.cross_validate import cross_validate
from pipelines.flows.import_dataset import import_dataset
from pipelines.flows.prepare import prepare, pull_raw_files
from pipelines.flows.pretrain import pretrain
from pipelines.flows.promote import promote

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_cross_validation_runs_the_folds_it_is_asked_for(project) -> None:
    mistaken = cross_validate("demo", folds=(9,), return_state=True)
    assert mistaken.is_failed()
    assert "folds.demo goes up to 9, but the dataset has 4 folds" in mistaken.message
    assert project.ran() == []

    done = cross_validate("demo", folds=(1, 3), modality="audio", checkpoint="published.pth", return_state=True)
    assert done.message == "6 ran"
    assert {"finetune-1", "finetune-3", "summarise"} < set(project.ran())
    params = project.params()
    assert params["folds"] == {"demo": [1, 3]}
    assert (params["finetune"]["modality"], params["finetune"]["checkpoint"]) == ("audio", "published.pth")


def test_without_a_finished_study_nothing_is_promoted(project) -> None:
    state = promote("demo", return_state=True)
    assert state.is_failed()
    assert (
        state.message
        == "dataset demo: no finished study (the study of params.yaml); run dvc repro, or name one with --study"
    )


@pytest.mark.slow
def test_a_preset_is_laid_over_the_parameters_before_pretraining(project) -> None:
    assert pretrain("pretrain_voxceleb2_tiny", return_state=True).message == "2 ran"
    assert project.ran() == ["quality-voxceleb2", "pretrain"]
    assert project.params()["model"]["size"] == "tiny"
    assert pretrain(return_state=True).message == "2 cached"


@pytest.mark.slow
def test_a_folder_is_imported_and_prepared(project, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    table = pd.DataFrame({"clip_id": ["a", "b"], "video": ["a.mp4", "b.mp4"], "label": ["x", "y"], "fold": [1, 2]})
    table.to_csv(folder / "manifest.csv", index=False)
    assert import_dataset("mine", folder, return_state=True).message == "1 ran"
    assert project.ran() == ["quality-mine"]
    assert project.params()["dataset"]["mine"]["classes"] == ["x", "y"]
    assert (project.root / "data/raw/mine").resolve() == folder


@pytest.mark.slow
def test_raw_files_come_from_the_remote(project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = project.root / "data" / "raw" / "demo"
    raw.mkdir(parents=True)
    (raw / "clip.mp4").write_text("film")
    project.dvc("add", "--quiet", "data/raw/demo")
    remote = tmp_path / "remote"
    project.dvc("remote", "add", "--quiet", "--default", "store", str(remote))
    project.dvc("push", "--quiet")
    project.dvc("remote", "modify", "--quiet", "store", "url", str(tmp_path / "away"))
    for folder in (raw, project.root / ".dvc" / "cache"):
        shutil.rmtree(folder)

    monkeypatch.setattr(pull_raw_files, "retry_delay_seconds", [0, 0, 0])
    away = prepare("demo", pull=True, return_state=True)
    assert away.is_failed()
    assert away.message.startswith("data/raw/demo could not be pulled: exit code")
    assert project.ran() == []

    project.dvc("remote", "modify", "--quiet", "store", "url", str(remote))
    assert prepare("demo", pull=True, return_state=True).message == "1 ran"
    assert (raw / "clip.mp4").read_text() == "film"
    unknown = prepare("nothing", return_state=True)
    assert unknown.message.startswith("no dataset `nothing` in params.yaml")
