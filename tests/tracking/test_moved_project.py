"""A project that is moved or copied keeps its runs, files and models, and writes into itself."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from hicmae.tracking.model_store import ModelStore
from hicmae.tracking.stage_runs import resolve_model, track
from hicmae.tracking.store import MlflowStore
from pipelines.project.datasets import add_dataset
from tests.tracking.tracked import PARAMS, ROOT, client_of, runs_of, start_fold

ODD = "a new #1 100% place's (ü)"
STAGES = {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def worked_in(tmp_path_factory) -> Path:
    """A project with a finished study and a registered model, in a folder that nobody opens again."""
    home = tmp_path_factory.mktemp("home") / "old place"
    (home / "data" / "manifests").mkdir(parents=True)
    (home / "dvc.yaml").write_text("stages: {}\n")
    (home / "dvc.lock").write_text("schema: '2.0'\n")
    shutil.copy(ROOT / "params.yaml", home)
    script = (
        "import pandas as pd; from pathlib import Path; from hicmae.tracking.model_registry import register;"
        "from hicmae.tracking.store import MlflowStore; from tests.tracking.registered import study;"
        "[pd.DataFrame({'clip_id': ['a', name]}).to_parquet(f'data/manifests/{name}.parquet')"
        " for name in ('demo', 'demo_unlabelled')];"
        "register(MlflowStore(Path.cwd()), study(Path.cwd(), 0.8), 'demo')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=home, env={**os.environ, **STAGES}, check=True)
    return home


@pytest.fixture
def original(worked_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a project of one's own, used in its place."""
    for variable in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "RANK"):
        monkeypatch.delenv(variable, raising=False)
    place = tmp_path / "original"
    shutil.copytree(worked_in, place)
    MlflowStore(place)
    return place


def digest(folder: Path) -> str:
    """Of all names and bytes; SQLite's own files beside a database come and go."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db-"))
    return hashlib.sha256("".join(f"{path}{path.read_bytes()}" for path in files).encode()).hexdigest()


def addresses(project: Path) -> set[str]:
    with sqlite3.connect(project / "mlflow.db") as store:
        return {
            value
            for table, column in [
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("logged_models", "artifact_location"),
                ("model_versions", "source"),
                ("model_versions", "storage_location"),
            ]
            for (value,) in store.execute(f"SELECT {column} FROM {table}")
        }


def find_all_and_add() -> None:
    """Runs, files and models are found in the project that is the working directory, and a new run lands there."""
    project = Path.cwd()
    assert resolve_model("models:/hicmae-demo@candidate").is_file()
    store = MlflowStore(project)
    assert store.download(runs_of(project)["fold 1"].info.run_id, "predictions.parquet").is_file()
    assert ModelStore(store).model_file(ModelStore(store).find("models:/hicmae-demo/1")).is_file()
    for stage, fold in (("finetune", 3), ("evaluate", 1)):  # a new run, and one of before
        (project / "note.txt").write_text(stage)
        with track(stage, PARAMS, "demo", fold) as tracker:
            tracker.log_artifact(project / "note.txt")
        assert (project / "mlartifacts" / tracker.run_id / "artifacts" / "note.txt").read_text() == stage
    assert {address for address in addresses(project) if project.as_uri() not in address} <= {f"{project}/mlruns/0"}


def everything_is_in(project: Path) -> str:
    """See that it is, and return what the user was told. In a process of its own, as MLflow remembers places."""
    script = "from tests.tracking.test_moved_project import find_all_and_add; find_all_and_add()"
    return python(project, "-c", script)


def python(folder: Path, *arguments: str) -> str:
    """Run Python in a folder; returns what it said."""
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, **STAGES}, capture_output=True, text=True
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout + result.stderr


def test_a_moved_project_finds_all_and_writes_into_itself(original, tmp_path):
    moved = original.rename(tmp_path / ODD)
    assert everything_is_in(moved).count("moved or copied") == 1
    assert not original.exists()


def test_a_copy_leaves_the_original_alone(original, tmp_path):
    copied = tmp_path / ODD / "deep"
    shutil.copytree(original, copied)
    before = digest(original)
    everything_is_in(copied)
    assert digest(original) == before
    everything_is_in(original)


def test_files_moved_out_of_a_folder_that_stays(original, tmp_path):
    place = tmp_path / "new"
    place.mkdir()
    for path in original.iterdir():
        path.rename(place / path.name)
    everything_is_in(place)
    assert [*original.iterdir()] == []


def test_a_project_that_did_not_move_is_not_written_to(original, tmp_path):
    before = addresses(original)
    (tmp_path / "link").symlink_to(original)
    MlflowStore(tmp_path / "link")
    assert addresses(original) == before


def test_a_folder_that_somebody_chose_stays(original, tmp_path):
    big = tmp_path / "big disk" / "mlartifacts"
    big.mkdir(parents=True)
    client_of(original).create_experiment("mine", big.as_uri())
    client_of(original).create_experiment("far", "s3://bucket/mlartifacts")
    moved = original.rename(tmp_path / "new")
    MlflowStore(moved)
    assert {big.as_uri(), "s3://bucket/mlartifacts"} < addresses(moved)
    assert all(str(original) not in address for address in addresses(moved))


def test_files_that_did_not_come_along_are_missed(original, tmp_path):
    moved = original.rename(tmp_path / "new")
    (moved / "mlartifacts").rename(tmp_path / "left")
    before = addresses(moved)
    with pytest.raises(ValueError, match="without the files of its 3 runs") as problem:
        MlflowStore(moved)
    assert addresses(moved) == before
    subprocess.run(["sh", "-c", str(problem.value).split(": ")[-1]], check=True)
    MlflowStore(moved)
    assert addresses(moved) != before


def test_the_doctor_and_make_mlflow_settle_it_too(original, tmp_path):
    moved = original.rename(tmp_path / "new place")
    for arguments in (["hicmae.tracking.store"], ["hicmae.cli", "doctor"]):
        said = python(moved, "-m", *arguments)
        assert all(str(original) not in address for address in addresses(moved))
    assert f"files in {moved}/mlartifacts" in said
    recipe = subprocess.run(["make", "-n", "-o", ".venv/.ready", "mlflow"], cwd=ROOT, capture_output=True, text=True)
    assert recipe.stdout.index("hicmae.tracking.store") < recipe.stdout.index("mlflow server")


def test_what_waits_in_an_outbox_moves_along(original, tmp_path, monkeypatch):
    monkeypatch.chdir(original)
    first = start_fold(5, "killed")
    first.wait()
    (box,) = (original / "checkpoints" / "mlflow-outbox").iterdir()
    (original / "note.txt").write_text("waits")
    script = (
        "import sys; from pathlib import Path; from hicmae.tracking.outbox import Outbox; box = Path(sys.argv[1]);"
        "out = Outbox(box, (box / 'store.txt').read_text());"
        "out.append({'kind': 'artifact', 'path': out.keep_file(Path('note.txt')), 'folder': ''})"
    )
    python(original, "-c", script, str(box))
    moved = original.rename(tmp_path / "new")
    assert "MLflow has everything" in python(moved, "-m", "hicmae.cli", "send-metrics")
    run = runs_of(moved)["fold 5"]
    assert (moved / "mlartifacts" / run.info.run_id / "artifacts" / "note.txt").read_text() == "waits"
    assert len(MlflowClient(f"sqlite:///{moved}/mlflow.db").get_metric_history(run.info.run_id, "train/loss")) == 3
    assert not original.exists()


def test_a_run_names_its_manifest_from_the_project_s_folder(original):
    (used,) = runs_of(original)["fold 1"].inputs.dataset_inputs
    assert json.loads(used.dataset.source)["uri"] == "data/manifests/demo.parquet"


def test_clips_inside_the_project_move_along(tmp_path):
    project = tmp_path / "old"
    (project / "downloads" / "mine").mkdir(parents=True)
    (project / "folds").mkdir()
    shutil.copy(ROOT / "params.yaml", project)
    shutil.copy(ROOT / "folds" / "template.yaml", project / "folds")
    shutil.copy(ROOT / "dvc.yaml", project)
    (project / "downloads" / "mine" / "manifest.csv").write_text("clip_id,video\na,a.mp4\n")
    add_dataset(project, "mine", project / "downloads" / "mine")
    add_dataset(project, "mine", project / "downloads" / "mine")
    moved = project.rename(tmp_path / "new")
    assert (moved / "data" / "raw" / "mine" / "manifest.csv").is_file()
