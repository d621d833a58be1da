"""Stages that ran, or were cached, lead to the runs that they belong to."""

from pathlib import Path

import pytest
import yaml

from hicmae.tracking.run_links import run_links
from hicmae.tracking.stage_runs import track
from tests.tracking.tracked import PARAMS, ROOT, runs_of

STAGES = ("corpus", "faces@demo", "pretrain", "finetune@demo-1", "evaluate@demo-1", "finetune@demo-2", "summarise@demo")


def test_stages_lead_to_their_runs_under_the_present_parameters(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    with track("pretrain", PARAMS), track("finetune", PARAMS, "demo", 1):
        pass
    (pretraining,) = runs_of(project, "pretraining").values()
    runs = runs_of(project)
    links = run_links(project, STAGES)
    ids = {stage: link.address.rpartition("/")[2] for stage, link in links.items()}
    fold, parent = runs["fold 1"].info.run_id, runs["demo both pretrained, statistics"].info.run_id
    assert ids == {
        "pretrain": pretraining.info.run_id, "finetune@demo-1": fold, "evaluate@demo-1": fold, "summarise@demo": parent
    }  # fmt: skip
    assert links["finetune@demo-1"].address.startswith("http://127.0.0.1:5000/#/experiments/")
    assert links["summarise@demo"].name == "demo both pretrained, statistics"

    values["finetune"]["epochs"] += 1
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    assert set(run_links(project, STAGES)) == {"pretrain"}


def test_a_store_that_is_away_is_told_in_a_sentence(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be reached"):
        run_links(project, STAGES)


def test_without_a_store_none_is_made(bare_project: Path) -> None:
    assert run_links(bare_project, STAGES) == {}
    assert not (bare_project / "mlflow.db").exists()
