"""The ablation as a user runs it: two arms, one protocol, one seed, on the small corpus."""

import pandas as pd
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
PART = ("--arms", "scratch", "full", "--protocols", "probe", "--seeds", "0", "--folds", "1")


def test_an_ablation_runs_what_is_missing_and_reports(finished_project):
    folder = finished_project.folder
    workspace = (folder / "params.yaml").read_text()
    with_nothing = finished_project.run("python", "-m", "stages.ablation", "show", *PART, check=False)
    assert "no arm has run with all seeds" in with_nothing.stderr
    planned = finished_project.run("python", "-m", "stages.ablation", "run", *PART, "--dry-run").stdout
    assert "2 experiments, 0 of them have run" in planned
    assert "ablation-probe-full-0: ++seed=0, ++folds.demo=[1]" in planned

    finished_project.run("python", "-m", "stages.ablation", "run", *PART)
    assert (folder / "params.yaml").read_text() == workspace
    again = finished_project.run("python", "-m", "stages.ablation", "run", *PART).stdout
    assert "2 experiments, 2 of them have run" in again

    report = finished_project.run("python", "-m", "stages.ablation", "show", *PART).stdout
    assert report.startswith("# Ablation")
    table = pd.read_csv(folder / "reports/ablation.csv")
    assert table["arm"].tolist() == ["no pre-training", "full"]
    assert table["value"].between(0, 1).all()
    for name in ("ablation.png", "ablation-features.png"):
        assert (folder / "reports" / name).stat().st_size > 5000
    more = finished_project.run("python", "-m", "stages.ablation", "show", *PART, "--protocols", "probe", "few").stdout
    assert "2 experiments are missing" in more
