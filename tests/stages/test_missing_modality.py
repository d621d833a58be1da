"""An audio-visual model is shown the audio alone: a DVC experiment that trains nothing."""

import json
import re

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

READ = "import sys, dvc.api; print(dvc.api.read('reports/demo/results.json', rev=sys.argv[1]))"


def test_only_evaluation_and_summary_run_again(finished_project):
    store = f"sqlite:///{finished_project.folder}/mlflow.db"
    command = ("dvc", "exp", "run", "--temp", "--name", "sound-alone", "-S", "evaluate.modality=audio")
    output = finished_project.run(*command, MLFLOW_TRACKING_URI=store).stdout
    ran = set(re.findall(r"Running stage '(.+)'", output))
    assert ran == {"folds/demo/dvc.yaml:evaluate@1", "folds/demo/dvc.yaml:evaluate@2", "summarise@demo"}
    alone = json.loads(finished_project.run("python", "-c", READ, "sound-alone").stdout)
    both = json.loads((finished_project.folder / "reports/demo/results.json").read_text())
    assert [(record["modality"], record["shown"]) for record in (both, alone)] == [("both", "both"), ("both", "audio")]
    assert alone["num_clips"] == both["num_clips"]
    assert finished_project.run("dvc", "status", "--json").stdout.strip() == "{}"
