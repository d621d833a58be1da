"""How registered models are found, in a real store."""

from pathlib import Path

import pytest

from hicmae.layout import project_root
from hicmae.tracking.stage_runs import resolve_model, track
from hicmae.tracking.store import MlflowStore
from tests.tracking.tracked import PARAMS


@pytest.fixture
def versions(project: Path) -> Path:
    """Two versions of a model; `champion` is the first."""
    client = MlflowStore(project_root()).client
    client.create_registered_model("hicmae-demo")
    for version in ("1", "2"):
        folder = project / "registered" / version
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "model.safetensors").write_text(f"weights {version}")
        client.create_model_version("hicmae-demo", folder.as_uri())
    client.set_registered_model_alias("hicmae-demo", "champion", "1")
    return project


def test_a_model_is_found_by_file_run_version_and_alias(versions: Path) -> None:
    file = versions / "here.safetensors"
    file.write_text("weights of a run")
    with track("finetune", PARAMS, "demo", 1) as tracker:
        tracker.log_artifact(file.rename(versions / "model.safetensors"))
    found = {
        name: resolve_model(name).read_text()
        for name in ("model.safetensors", tracker.run_id, "models:/hicmae-demo@champion", "models:/hicmae-demo/2")
    }
    assert list(found.values()) == ["weights of a run", "weights of a run", "weights 1", "weights 2"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "models:/hicmae-demo@chmpion",
            "there are: models:/hicmae-demo/1, models:/hicmae-demo/2, models:/hicmae-demo@",
        ),
        ("models:/hicmae-demo/3", "no `models:/hicmae-demo/3`"),
        ("models:/nothing@champion", "no `models:/nothing@champion`"),
        ("models:hicmae-demo", "is written models:/NAME@ALIAS or"),
        ("here.safetensors", "here.safetensors: no such file"),
        ("0" * 32, "no model.safetensors in MLflow run"),
    ],
)
def test_what_is_not_there_is_named(versions: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        resolve_model(text)
