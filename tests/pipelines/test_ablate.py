"""The ablation and the study as flows: one real experiment of DVC each, on the small corpus."""

import pytest
from prefect.artifacts import Artifact

from pipelines.flows.ablate import ablate, study

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200), pytest.mark.usefixtures("prefect_server")]


def test_an_ablation_is_run_and_its_report_shown(finished_project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_project.folder)
    state = ablate(("scratch",), ("probe",), seeds=(0,), folds=(1,), jobs=1, return_state=True)
    assert state.is_completed(), state.message
    report = (finished_project.folder / "reports" / "ablation.md").read_text()
    assert "| no pre-training |" in report
    assert Artifact.get("ablate").data == report
    compared = study(("scratch",), ("audio",), folds=(1,), jobs=1, return_state=True)
    assert compared.is_completed(), compared.message
    assert "| no pre-training |" in Artifact.get("study").data
    refused = ablate(("scratch",), ("probe",), folds=(9,), return_state=True)
    assert refused.is_failed()
    assert "folds.demo goes up to 9, but the dataset has 4 folds" in refused.message
