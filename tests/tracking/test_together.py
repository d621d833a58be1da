"""The folds of a study, all of them logging into one SQLite store at the same time."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hicmae.tracking import stage_runs
from hicmae.tracking.outbox import waiting_folders
from hicmae.tracking.runs import RunStore
from tests.tracking.tracked import PARAMS, ROOT, client_of, runs_of, steps_of

NUM_FOLDS = 8
NUM_STEPS = 200
SCRIPT = """
import multiprocessing, sys, time
from pathlib import Path
import hicmae.tracking.runs, hicmae.tracking.system_metrics  # once, for all
from hicmae_core.config import load_params
from hicmae.tracking.stage_runs import track

def train(fold):
    file = Path(f"fold-{fold}.txt")
    file.write_text(f"of fold {fold}")
    with track("finetune", load_params(Path(sys.argv[1])), "demo", fold) as tracker:
        all_are_open.wait(120)
        for step in range(int(sys.argv[3])):
            tracker.log_metrics({"train_loss": 1 / (fold + step), "lr": fold * step}, step=step)
            if step == 100:
                tracker.log_artifact(file)
            time.sleep(0.02)

forks = multiprocessing.get_context("fork")
num_folds = int(sys.argv[2])
all_are_open = forks.Barrier(num_folds)
folds = [forks.Process(target=train, args=(fold,)) for fold in range(1, num_folds + 1)]
for fold in folds:
    fold.start()
for fold in folds:
    fold.join()
sys.exit(any(fold.exitcode for fold in folds))
"""


def test_eight_folds_that_log_at_once_lose_nothing_and_log_nothing_twice(bare_project: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "params.yaml"), str(NUM_FOLDS), str(NUM_STEPS)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be reached" not in done.stderr

    runs = runs_of(bare_project)
    parent = runs.pop("demo both pretrained, statistics")
    assert set(runs) == {f"fold {fold}" for fold in range(1, NUM_FOLDS + 1)}
    assert parent.info.status == "FINISHED"
    client = client_of(bare_project)
    for fold in range(1, NUM_FOLDS + 1):
        run = runs[f"fold {fold}"]
        assert (run.info.status, run.data.tags["fold"]) == ("FINISHED", str(fold))
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert steps_of(bare_project, run, "train_loss") == [(step, 1 / (fold + step)) for step in range(NUM_STEPS)]
        assert steps_of(bare_project, run, "lr") == [(step, fold * step) for step in range(NUM_STEPS)]
        artifact = Path(client.download_artifacts(run.info.run_id, f"fold-{fold}.txt"))
        assert artifact.read_text() == f"of fold {fold}"
    assert waiting_folders(stage_runs.outboxes(bare_project)) == []


def test_a_stage_does_not_wait_for_a_program_that_reads_the_store(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_runs, "_PATIENCE_SECONDS", 1.0)
    RunStore(project)
    with closing(sqlite3.connect(project / "mlflow.db")) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*) FROM runs").fetchone()
        with stage_runs.track("finetune", PARAMS, "demo", 1) as tracker:
            tracker.log_metrics({"train_loss": 1.0}, step=0)
        assert runs_of(project)["fold 1"].info.status == "FINISHED"
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == before == (0,)
