"""The real graph, end to end, on a small corpus: DVC, MLflow, Prefect and a new video."""

import json
import re

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from hicmae_core.store.manifest import USABLE
from tests.drawings import DARKEST, MASKED, areas

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_the_graph_gives_results_for_every_fold(finished_project):
    folder = finished_project.folder
    for fold in (1, 2):
        predictions = pd.read_parquet(folder / f"results/demo/{fold}/predictions.parquet")
        assert {"clip_id", "subject", "unit", "label", "p_anger", "p_sadness"} <= set(predictions)
        assert predictions[[c for c in predictions if c.startswith("p_")]].sum(axis=1).to_numpy() == pytest.approx(1)
    report = json.loads((folder / "reports/demo/results.json").read_text())
    assert set(report["folds"]) == {"1", "2"}
    assert (report["unit"], report["num_units"]) == ("clip", report["num_clips"])
    assert {one: set(found) for one, found in report["alone"].items()} == {
        one: {"pooled", "low", "high"} for one in ("audio", "video")
    }
    assert "| the video alone |" in (folder / "reports/demo/results.md").read_text()
    assert areas(folder / "reports/demo/confusion.png", DARKEST, 400) >= 1
    assert areas(folder / "models/pretrain/reconstruction.png", MASKED, 20) >= 2
    assert not [*folder.glob("checkpoints/pretrain-*"), *folder.glob("checkpoints/finetune-*")]
    assert "no clip is there twice" in (folder / "reports/preparation/demo.html").read_text()


def test_the_quarantine_has_work(finished_project):
    manifest = pd.read_parquet(finished_project.folder / "data/manifests/demo.parquet")
    faces = pd.read_parquet(finished_project.folder / "data/faces/demo/index.parquet")
    rows = pd.concat([manifest, faces])
    rejected = rows[~rows["status"].isin(USABLE)]
    assert len(rejected) >= 1
    assert (rejected["reason"].str.len() > 10).all()
    tested = pd.concat(
        pd.read_parquet(finished_project.folder / f"results/demo/{fold}/predictions.parquet") for fold in (1, 2)
    )
    assert set(tested["clip_id"]).isdisjoint(rejected["clip_id"])


def test_nothing_changed_means_nothing_runs(finished_project):
    output = finished_project.run("dvc", "repro").stdout
    assert "Running stage" not in output
    assert "up to date" in output


def test_mlflow_holds_one_tree_of_runs(finished_project):
    client = MlflowClient(f"sqlite:///{finished_project.folder}/mlflow.db")
    experiments = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    (pretraining,) = client.search_runs([experiments["pretraining"]])
    runs = client.search_runs([experiments["demo"]])
    (parent,) = (run for run in runs if run.info.run_name == "demo both pretrained, statistics")
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.tags["fold"] for run in children) == ["1", "2"]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics.keys() >= {"pooled_uar", "mean_war"}
    for run in [parent, *children]:
        assert run.data.tags["pretraining_run_id"] == pretraining.info.run_id
        assert run.data.tags["git_commit"]
        assert run.inputs.dataset_inputs[0].dataset.name == "demo"
    for run in children:
        assert run.data.params["finetune.epochs"] == "2"
        assert run.data.metrics.keys() >= {"train_loss", "lr", "samples_per_second", "test_uar"}
        assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 2
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert names >= {
            "predictions.parquet",
            "alone.parquet",
            "confusion.csv",
            "history.png",
            "model.safetensors",
            "images",
        }
    results = f"UAR {100 * parent.data.metrics['pooled_uar']:.2f} ("
    assert results in parent.data.tags["mlflow.note.content"]
    assert " steps in 2 epochs" in pretraining.data.tags["mlflow.note.content"]
    assert "boxes.png" in {file.path for file in client.list_artifacts(parent.info.run_id)}
    names = {file.path for file in client.list_artifacts(pretraining.info.run_id)}
    assert "reconstruction.png" in names


def test_prefect_finds_everything_up_to_date(finished_project):
    result = finished_project.run("python", "-m", "pipelines.flows.reproduce")
    assert "0 of 15 stages to run" in result.stdout + result.stderr
    assert "15 cached" in result.stdout


def test_a_changed_parameter_reruns_only_what_depends_on_it(finished_project):
    values = finished_project.params()
    try:
        finished_project.set_params({**values, "evaluate": {**values["evaluate"], "num_segments": 1}})
        status = json.loads(finished_project.run("dvc", "status", "--json").stdout)
        assert set(status) == {"folds/demo/dvc.yaml:evaluate@1", "folds/demo/dvc.yaml:evaluate@2"}
        finished_project.set_params({**values, "compute": {**values["compute"], "num_workers": 1}})
        assert json.loads(finished_project.run("dvc", "status", "--json").stdout) == {}
    finally:
        finished_project.set_params(values)


def test_a_model_answers_videos_it_has_never_seen(finished_project):
    raw = "data/raw/demo/labelled"
    clips = sorted(path.name for path in (finished_project.folder / raw).iterdir())
    good = next(name for name in clips if "broken" not in name)
    (finished_project.folder / "empty.mp4").touch()
    command = ["python", "-m", "hicmae.cli", "predict", f"{raw}/{good}", "empty.mp4", "nowhere.mp4"]
    answers = json.loads(finished_project.run(*command, "--json").stdout)
    assert [answer["status"] for answer in answers] == ["ok", "zero_byte", "missing"]
    assert list(answers[0]["probabilities"]) == ["anger", "happiness", "neutral", "sadness"]
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)
    assert answers[0]["windows"][0]["probabilities"].keys() == answers[0]["probabilities"].keys()
    assert "probabilities" not in answers[1]
    assert "empty" in answers[1]["reason"]
    table = finished_project.run(*command).stdout
    assert re.search(rf"{re.escape(good)}\s+(anger|happiness|neutral|sadness)\s+0\.\d\d", table)
    assert "nowhere.mp4: no prediction, missing" in table
    assert finished_project.run(*command[:4], "nowhere.mp4", check=False).returncode == 1


def test_the_clip_s_answer_is_the_one_of_evaluation(finished_project):
    predictions = pd.read_parquet(finished_project.folder / "results/demo/1/predictions.parquet")
    row = predictions.iloc[0]
    labels = pd.read_csv(finished_project.folder / "data/raw/demo/labels.csv").set_index("clip_id")
    video = f"data/raw/demo/{labels.loc[row['clip_id'], 'file']}"
    model = "models/finetune/demo/1/model.safetensors"
    (answer,) = json.loads(
        finished_project.run("python", "-m", "hicmae.cli", "predict", video, "--model", model, "--json").stdout
    )
    for name, probability in answer["probabilities"].items():
        assert probability == pytest.approx(row[f"p_{name}"], abs=2e-3)  # stored features are half precision


def test_numbers_predictions_and_models_lead_back_to_their_data(finished_project):
    def lineage(*what: str) -> dict:
        return json.loads(finished_project.run("python", "-m", "hicmae.cli", "lineage", *what, "--json").stdout)

    folder = finished_project.folder
    number = lineage("reports/demo/metrics.json:pooled.uar")
    assert number["value"] == json.loads((folder / "reports/demo/results.json").read_text())["pooled"]["uar"]
    assert number["run"] == "demo both pretrained, statistics"
    locked = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    for path in ("results/demo/2/predictions.parquet", "models/finetune/demo/2/model.safetensors"):
        found = lineage(path)
        assert (found["run"], found["study_run_id"]) == ("fold 2", number["run_id"])
        assert found["dvc_md5"]["data/faces/demo"] == locked["faces@demo"]["outs"][0]["md5"]
        assert found["environment"].keys() == {"finetune", "evaluate"}
        assert found["pretraining"]["dataset"] == "demo_unlabelled"
    clip = pd.read_parquet(folder / "results/demo/1/predictions.parquet")["clip_id"][0]
    roles = {row["what"]: row["role"] for row in lineage("--clip", clip)}
    assert roles["finetune@demo-1, evaluate@demo-1"] == "tested in"
    assert roles["finetune@demo-2, evaluate@demo-2"] == "trained on"
