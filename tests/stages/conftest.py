"""Projects with an MLflow store of their own."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store; making one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a store yet."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    manifests = tmp_path / "data" / "manifests"
    manifests.mkdir(parents=True)
    for name in ("demo", "demo_unlabelled"):
        pd.DataFrame({"clip_id": ["a", "b", name]}).to_parquet(manifests / f"{name}.parquet")
    for variable in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "RANK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(bare_project: Path, empty_store: Path) -> Path:
    """A project with an empty store."""
    shutil.copy(empty_store, bare_project / "mlflow.db")
    return bare_project
