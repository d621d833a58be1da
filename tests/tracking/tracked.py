"""What a test sees of the runs of a project, and a training in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from hicmae_core.config import load_params

ROOT = Path(__file__).resolve().parents[2]
PARAMS = load_params(ROOT / "params.yaml")


def client_of(store: Path | str) -> MlflowClient:
    """Of a project's own store, or of a server."""
    return MlflowClient(f"sqlite:///{store / 'mlflow.db'}" if isinstance(store, Path) else store)


def runs_of(store: Path | str, experiment: str = "demo") -> dict[str, Run]:
    client = client_of(store)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], run_view_type=ViewType.ALL) if found else []
    assert len({run.info.run_name for run in runs}) == len(runs), "two runs of one name"
    return {run.info.run_name: run for run in runs}


def steps_of(store: Path | str, run: Run, name: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client_of(store).get_metric_history(run.info.run_id, name))


SCRIPT = """
import os, signal, sys
from pathlib import Path
from hicmae_core.config import load_params
from hicmae.tracking.stage_runs import track
params, fold = load_params(Path(sys.argv[1])), int(sys.argv[2])
with track("finetune", params, "demo", fold) as tracker:
    tracker.log_series("train/loss", [(step, 1 / (fold + step)) for step in range(3)])
    if len(sys.argv) > 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def start_fold(fold: int, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "params.yaml"), str(fold), *more]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
