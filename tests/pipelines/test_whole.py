"""The demo's deployment on a Prefect server, with an MLflow server and a worker: cancelled half-way and run again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.states import Cancelling

from tests.conftest import Project
from tests.pipelines.served import Server, Site, end, free_port, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


@pytest.fixture
def mlflow_address(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server."""
    address = f"http://127.0.0.1:{free_port()}"
    log = tmp_path / "mlflow.log"
    with open(log, "wb") as handle:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1",
             "--port", address.rpartition(":")[2], "--backend-store-uri", f"sqlite:///{tmp_path}/served.db",
             "--artifacts-destination", str(tmp_path / "artifacts")],
            stdout=handle, stderr=handle,
        )  # fmt: skip

    def is_up() -> bool:
        try:
            return httpx.get(f"{address}/health").is_success
        except httpx.TransportError:
            return False

    wait_for(is_up, 120, log.read_text)
    yield address
    end(server)


def test_a_demo_cancelled_half_way_is_completed_by_the_next_run(
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
    assert wait_for(lambda: not site.processes(), 40, site.worker_log) < 10
    site.wait_until(first, "Cancelled")
    assert not (site.root / "models/pretrain/model.safetensors").exists()

    second = site.wait_until(site.trigger("reproduce"), "Completed", 600)
    assert "going on after step" in site.logs_of(second)

    client = MlflowClient(mlflow_address)
    experiments = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    (pretraining,) = client.search_runs([experiments["pretraining"]])
    runs = client.search_runs([experiments["demo"]])
    assert sorted(run.info.run_name for run in runs) == ["demo both pretrained", "fold 1", "fold 2"]
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
