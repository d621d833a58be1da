"""The demo's deployment on a Prefect server, with an MLflow server and a worker: cancelled, run again, promoted."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.states import Cancelling

from hicmae_core.files import sha256_of
from tests.conftest import Project
from tests.loading import ask
from tests.pipelines.served import MlflowServer, Server, Site, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


@pytest.fixture
def mlflow_address(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server."""
    server = MlflowServer(tmp_path)
    yield server.address
    server.end()


def test_a_demo_cancelled_half_way_is_completed_by_the_next_run_and_promoted(
    new_project: Project, server: Server, mlflow_address: str
) -> None:
    values = new_project.params()
    values["pretrain"]["epochs"] = 40
    values["compute"].update(checkpoint_every_minutes=0, log_every_steps=1)
    new_project.set_params(values)
    root = new_project.folder
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    site = Site(root, server, {"PATH": path, "MLFLOW_TRACKING_URI": mlflow_address})
    try:
        check_runs(site, mlflow_address)
        check_promotion(site, mlflow_address)
    finally:
        site.end()
    fold = json.loads((root / "results/demo/2/metrics.json").read_text())
    assert 0 <= fold["uar"] <= 1
    assert set(json.loads((root / "reports/demo/results.json").read_text())["folds"]) == {"1", "2"}
    assert new_project.run("dvc", "status").stdout.strip().endswith("Data and pipelines are up to date.")


def check_runs(site: Site, mlflow_address: str) -> None:
    first = site.trigger("reproduce")
    wait_for(lambda: any(site.root.glob("checkpoints/pretrain-*/0000000[5-9]-*.pt")), 400, site.worker_log)
    site.server.client.set_flow_run_state(first.id, Cancelling())
    wait_for(lambda: not site.processes(), 40, site.worker_log)
    site.wait_until(first, "Cancelled")
    assert not (site.root / "models/pretrain/model.safetensors").exists()

    second = site.wait_until(site.trigger("reproduce"), "Completed", 600)
    assert "going on after step" in site.logs_of(second)

    client = MlflowClient(mlflow_address)
    experiments = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    (pretraining,) = client.search_runs([experiments["pretraining"]])
    runs = client.search_runs([experiments["demo"]])
    assert sorted(run.info.run_name for run in runs) == ["demo both pretrained, statistics", "fold 1", "fold 2"]
    assert {run.info.status for run in [pretraining, *runs]} == {"FINISHED"}
    steps = [metric.step for metric in client.get_metric_history(pretraining.info.run_id, "step/total")]
    assert sorted(steps) == list(range(len(steps))), "each step once, those before the cancellation included"

    third = site.wait_until(site.trigger("reproduce"), "Completed")
    assert third.state is not None
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[third.id]))
    artifacts = {artifact.key: artifact for artifact in site.server.client.read_artifacts(artifact_filter=of_run)}
    rows = {row["stage"]: row for row in json.loads(artifacts["reproduce-stages"].data)}
    assert third.state.message == f"{len(rows)} cached"
    shown = rows["pretrain"]["MLflow run"]
    assert f"({mlflow_address}/#/experiments/{experiments['pretraining']}/runs/{pretraining.info.run_id})" in shown
    assert all(rows[stage]["MLflow run"] for stage in ("finetune@demo-1", "evaluate@demo-2", "summarise@demo"))


def check_promotion(site: Site, mlflow_address: str) -> None:
    first = site.wait_until(site.trigger("promote", dataset="demo"), "Completed")
    assert first.state.message == "hicmae-demo version 1 is the first champion"
    second = site.wait_until(site.trigger("promote", dataset="demo"), "Completed")
    assert second.state.message == "hicmae-demo version 1 is the champion already"

    client = MlflowClient(mlflow_address)
    (version,) = client.search_model_versions("name = 'hicmae-demo'")
    assert client.get_registered_model("hicmae-demo").aliases == {"candidate": "1", "champion": "1"}
    assert version.tags["weights_sha256"] == sha256_of(site.root / "models/finetune/demo/1/model.safetensors")

    videos = [str(path) for path in sorted((site.root / "data/raw/demo").rglob("*_01.mp4"))[:2]]
    answered = ask("models:/hicmae-demo@champion", pd.DataFrame({"video": videos}), site.root.parent, mlflow_address)
    assert answered["status"].tolist() == ["ok", "ok"], answered["reason"].tolist()
    assert set(answered["label"]) <= {"anger", "happiness", "neutral", "sadness"}
