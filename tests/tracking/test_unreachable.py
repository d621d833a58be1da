"""Stages while MLflow cannot be reached: a real server that is killed, a real SQLite store that is locked or full."""

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from hicmae.cli import send_metrics
from hicmae.tracking import stage_runs
from hicmae.tracking.outbox import waiting_folders
from hicmae.tracking.runs import Delivery, RunStore
from hicmae.tracking.stage_runs import track
from tests.tracking.mlflow_server import Server
from tests.tracking.test_outbox import full_disk
from tests.tracking.tracked import PARAMS, runs_of, start_fold, steps_of


@pytest.fixture
def server(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(project, f"sqlite:///{project / 'mlflow.db'}", str(project / "mlartifacts"))
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    yield server
    server.kill()


def outboxes(project: Path) -> list[Path]:
    return [folder for folder, _ in waiting_folders(stage_runs.outboxes(project))]


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_has_every_step_once(
    project: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    model = project / "model.safetensors"
    model.write_bytes(b"weights")
    with track("finetune", PARAMS, "demo", 1) as tracker:
        for step in range(300):
            if step == 100:
                server.kill()
            tracker.log_series("step/loss", [(step, 1 / (step + 1))])  # waits for no server, or it would wait for ever
            time.sleep(0.02)
        tracker.log_artifact(model, "models")
        server.start()
        tracker.log_metrics({"test/war": 0.5}, step=0)
    run = runs_of(project)["fold 1"]
    assert run.info.status == "FINISHED"
    assert steps_of(project, run, "step/loss") == [(step, 1 / (step + 1)) for step in range(300)]
    (artifact,) = (project / "mlartifacts").rglob("model.safetensors")
    assert artifact.read_bytes() == b"weights"
    lines = capsys.readouterr().err.splitlines()
    assert [f"{server.uri} cannot be reached (Connection refused)" in line for line in lines] == [True, False]
    assert "is back" in lines[1]
    assert outboxes(project) == []


@pytest.mark.slow
def test_a_server_that_stays_away_gets_all_from_the_next_stage(
    project: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage_runs, "_PATIENCE_SECONDS", 3.0)
    with track("finetune", PARAMS, "demo", 1) as tracker:
        tracker.log_metrics({"epoch/loss": 1.0}, step=0)
        while not steps_of(project, runs_of(project)["fold 1"], "epoch/loss"):
            time.sleep(0.1)
        server.kill()
        tracker.log_metrics({"epoch/loss": 0.5}, step=1)
    assert "stay in" in capsys.readouterr().err
    assert runs_of(project)["fold 1"].info.status == "RUNNING"
    assert len(outboxes(project)) == 1

    server.start()
    with track("evaluate", PARAMS, "demo", 1) as again:
        assert again.run_id == tracker.run_id
        assert steps_of(project, runs_of(project)["fold 1"], "epoch/loss") == [(0, 1.0), (1, 0.5)]
    run = runs_of(project)["fold 1"]
    assert run.data.tags["trained"] == "true"
    assert {run.info.status for run in runs_of(project).values()} == {"FINISHED"}
    assert outboxes(project) == []


def test_a_stage_that_cannot_reach_its_server_ends_before_it_begins(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(ValueError, match=r"http://127.0.0.1:9 cannot be reached \(Connection refused\): start it"):
        track("finetune", PARAMS, "demo", 1).__enter__()
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" in os.environ, "the stages' own"
    assert runs_of(project) == {}


@pytest.mark.slow
def test_a_server_that_hangs_is_not_waited_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(ValueError, match="cannot be reached"):
            track("finetune", PARAMS, "demo", 1).__enter__()
    assert time.monotonic() - start < 60, "MLflow itself waits 120 s"


def test_a_full_store_is_filled_when_there_is_room_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with track("finetune", PARAMS, "demo", 1) as tracker:
        with full_disk(project / "mlflow.db"):
            tracker.log_series("step/loss", [(step, 1 / (step + 1)) for step in range(5000)])
            err, deadline = "", time.monotonic() + 60
            while "cannot be reached" not in err and time.monotonic() < deadline:
                time.sleep(0.1)
                err += capsys.readouterr().err
        tracker.log_metrics({"epoch/loss": 0.5}, step=0)
    err += capsys.readouterr().err
    assert err.count("cannot be reached") == 1
    assert "Traceback" not in err
    run = runs_of(project)["fold 1"]
    assert len(steps_of(project, run, "step/loss")) == 5000
    assert steps_of(project, run, "epoch/loss") == [(0, 0.5)]
    assert run.info.status == "FINISHED"


def test_a_locked_store_gets_all_from_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage_runs, "_PATIENCE_SECONDS", 0.5)
    other_program = sqlite3.connect(project / "mlflow.db")
    with track("finetune", PARAMS, "demo", 1) as tracker:
        other_program.execute("BEGIN EXCLUSIVE")
        tracker.log_series("step/loss", [(step, 1.0) for step in range(100)])
    other_program.rollback()
    (left,) = outboxes(project)
    assert left.name == tracker.run_id
    monkeypatch.setattr(stage_runs, "_PATIENCE_SECONDS", 30)
    send_metrics.main()
    assert "MLflow has everything" in capsys.readouterr().out
    run = runs_of(project)["fold 1"]
    assert steps_of(project, run, "step/loss") == [(step, 1.0) for step in range(100)]
    assert run.info.status == "FINISHED"


def test_entries_whose_acknowledgement_was_lost_are_there_once(project: Path) -> None:
    with track("finetune", PARAMS, "demo", 1) as tracker:
        pass
    deliver = Delivery(RunStore(project), project / tracker.run_id)
    entry = {"kind": "metrics", "points": [["a", 0, 0.5, 7], ["a", 1, float("nan"), 7]], "keep_first": False}
    more = {"kind": "metrics", "points": [["a", 2, 0.5, 7]], "keep_first": False}
    deliver([entry])
    deliver([entry, more])
    Delivery(RunStore(project), project / tracker.run_id)([entry, more])
    assert [step for step, _ in steps_of(project, runs_of(project)["fold 1"], "a")] == [0, 1, 2]


def test_a_run_that_somebody_deletes_does_not_end_its_training(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with track("finetune", PARAMS, "demo", 1) as tracker:
        RunStore(project).client.delete_run(tracker.run_id)
        tracker.log_metrics({"a": 1.0}, step=0)
    refusals = [line for line in capsys.readouterr().err.splitlines() if " refuses " in line]
    assert 1 <= len(refusals) <= 5
    assert all("Current state is deleted" in line for line in refusals)
    assert outboxes(project) == []


def test_only_what_is_for_the_store_in_use_is_sent(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start_fold(1, "die").wait(120) == -signal.SIGKILL
    (left,) = outboxes(project)
    (left / "store.txt").write_text("http://elsewhere:5000")
    with pytest.raises(typer.Exit) as end:
        send_metrics.main()
    assert end.value.exit_code == 1
    assert "set MLFLOW_TRACKING_URI to http://elsewhere:5000" in capsys.readouterr().out
    assert outboxes(project) == [left]


def test_outboxes_of_queued_experiments_outlive_their_copy(tmp_path: Path) -> None:
    assert stage_runs.outboxes(tmp_path) == tmp_path / "checkpoints" / "mlflow-outbox"
    assert stage_runs.outboxes(tmp_path / ".dvc" / "tmp" / "exps" / "a") == stage_runs.outboxes(tmp_path)
