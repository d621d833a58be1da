"""Studies logged to an MLflow server whose runs are in a real PostgreSQL and whose files are in an S3 bucket."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from hicmae.tracking.stage_runs import resolve_model, track
from tests.tracking.mlflow_server import Server
from tests.tracking.postgres import Postgres, needs_postgres
from tests.tracking.tracked import PARAMS, runs_of, start_fold, steps_of

pytestmark = [pytest.mark.slow, needs_postgres]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    postgres = Postgres()
    yield postgres
    postgres.remove()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket of an S3 server that the environment leads to."""
    s3 = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    s3.start()
    address = "http://{}:{}".format(*s3.get_host_and_port())
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "MLFLOW_S3_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3", endpoint_url=address).create_bucket(Bucket="hicmae")
    yield bucket
    bucket.objects.all().delete()  # moto's servers of one process share what they hold
    s3.stop()


@pytest.fixture
def server(project: Path, postgres: Postgres, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(project, postgres.uri, f"s3://{bucket.name}/runs")
    server.start()
    for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)  # the server has the keys, the stages need none
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    yield server
    server.kill()


def stored(bucket: Any) -> dict[str, bytes]:
    return {entry.key.rsplit("/", 1)[-1]: entry.get()["Body"].read() for entry in bucket.objects.all()}


def test_a_study_is_in_the_database_and_its_models_in_the_bucket(
    project: Path, server: Server, bucket: Any, tmp_path: Path
) -> None:
    with track("pretrain", PARAMS) as tracker:
        tracker.log_metrics({"total": 2.0}, step=0)
    folds = [start_fold(fold) for fold in (1, 2)]  # at the same time
    assert [fold.wait(200) for fold in folds] == [0, 0]
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights of fold 3")
    with track("finetune", PARAMS, "demo", 3) as tracker:
        tracker.log_artifact(model)
    with track("summarise", PARAMS, "demo") as tracker:
        tracker.log_metrics({"pooled_uar": 0.5}, step=0)

    runs = runs_of(server.uri)
    assert set(runs) == {"demo both pretrained, statistics", "fold 1", "fold 2", "fold 3"}
    parent = runs["demo both pretrained, statistics"]
    (pretraining,) = runs_of(server.uri, "pretraining").values()
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["pretraining_run_id"] == pretraining.info.run_id
        assert run.data.tags.get("mlflow.parentRunId", parent.info.run_id) == parent.info.run_id
    assert parent.data.metrics["pooled_uar"] == 0.5
    assert steps_of(server.uri, runs["fold 2"], "train/loss") == [(step, 1 / (2 + step)) for step in range(3)]
    assert stored(bucket)["model.safetensors"] == b"weights of fold 3"
    assert resolve_model(runs["fold 3"].info.run_id).read_bytes() == b"weights of fold 3"


@pytest.mark.parametrize("away", ["server", "postgres"])
def test_what_is_logged_while_the_server_or_its_database_is_away_arrives_later(
    project: Path,
    server: Server,
    postgres: Postgres,
    bucket: Any,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    away: str,
) -> None:
    gone = request.getfixturevalue(away)
    model = project / "model.safetensors"
    model.write_bytes(b"weights")
    with track("finetune", PARAMS, "demo", 1) as tracker:
        for step in range(300):
            if step == 100:
                gone.kill()
            tracker.log_metrics({"train_loss": 1 / (step + 1)}, step=step)
            time.sleep(0.02)
        tracker.log_artifact(model)
        gone.start()
    run = runs_of(server.uri)["fold 1"]
    assert run.info.status == "FINISHED"
    assert steps_of(server.uri, run, "train_loss") == [(step, 1 / (step + 1)) for step in range(300)]
    assert stored(bucket)["model.safetensors"] == b"weights"
    told = capsys.readouterr().err
    assert told.count("cannot be reached") == 1
    assert told.count("is back;") == 1
