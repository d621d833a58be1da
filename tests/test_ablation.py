"""The ablation as a user runs it: two arms, one protocol, one seed, on the small corpus."""

import re

import pandas as pd
import pytest
from mlflow import MlflowClient

from hicmae_core.reports.figures import ORANGE
from tests.drawings import areas

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
PART = ("--arms", "scratch", "full", "--protocols", "probe", "--seeds", "1", "--folds", "1")
"""Both arms need the pre-training of this seed, which the finished project has not made."""


def test_an_ablation_runs_what_is_missing_and_reports(finished_project):
    folder = finished_project.folder
    workspace = (folder / "params.yaml").read_text()
    with_nothing = finished_project.run("python", "-m", "pipelines.project.ablation", "show", *PART, check=False)
    assert "no arm has run with all seeds" in with_nothing.stderr
    planned = finished_project.run("python", "-m", "pipelines.project.ablation", "run", *PART, "--dry-run").stdout
    assert "2 experiments, 0 of them have run" in planned
    assert re.search(r"^ablation-probe-full-1 +\+\+seed=1, \+\+folds.demo=\[1\]", planned, re.MULTILINE)

    finished_project.run("python", "-m", "pipelines.project.ablation", "run", *PART)
    assert (folder / "params.yaml").read_text() == workspace
    again = finished_project.run("python", "-m", "pipelines.project.ablation", "run", *PART).stdout
    assert "2 experiments, 2 of them have run" in again

    report = finished_project.run("python", "-m", "pipelines.project.ablation", "show", *PART).stdout
    assert report.startswith("# Ablation")
    table = pd.read_csv(folder / "reports/ablation.csv")
    assert table["arm"].tolist() == ["no pre-training", "full"]
    assert table["value"].between(0, 1).all()
    for name in ("ablation.png", "ablation-features.png"):
        assert areas(folder / "reports" / name, ORANGE) >= 1
    more = finished_project.run(
        "python", "-m", "pipelines.project.ablation", "show", *PART, "--protocols", "probe", "few"
    ).stdout
    assert "2 experiments are missing" in more


def test_a_study_adapts_to_the_training_speakers_and_shows_one_modality_alone(finished_project):
    folder = finished_project.folder
    part = ("--what", "study", "--arms", "pretrained-indomain", "--protocols", "dropout", "--folds", "1")
    finished_project.run("python", "-m", "pipelines.project.ablation", "run", *part)
    report = finished_project.run("python", "-m", "pipelines.project.ablation", "show", *part).stdout
    assert "either hidden at times; voice shown" in report
    rows = pd.read_parquet(folder / "reports/study.parquet")
    assert set(rows["arm"]) == {"pretrained-indomain-dropout"}
    assert rows.groupby("modality").size().nunique() == 1
    assert set(rows["modality"]) == {"both", "audio", "video"}
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    (study,) = (run for run in runs if "adapted" in run.data.tags["mlflow.runName"])
    (fold,) = (run for run in runs if run.data.tags.get("mlflow.parentRunId") == study.info.run_id)
    assert [file.path for file in client.list_artifacts(fold.info.run_id, "adaptation")] == ["adaptation/history.csv"]
