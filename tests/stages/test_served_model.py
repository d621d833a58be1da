"""What MLflow loads averages segments as evaluation does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.pyfunc import write_pyfunc
from tests.disagreeing import PROBABILITIES, save_disagreeing, write_changing_film

ASK = """
import sys, mlflow, pandas as pd
videos = pd.DataFrame({"video": [sys.argv[2]], "video_base64": [None]})
print(mlflow.pyfunc.load_model(sys.argv[1]).predict(videos).iloc[0].to_json())
"""
"""In a process of its own, as the model's code takes the place of this project's."""


@pytest.mark.parametrize(("num_targets", "label"), [(1, "a"), (2, "arousal a, valence b")])
def test_segments_that_disagree_average_their_probabilities(tmp_path: Path, num_targets: int, label: str) -> None:
    film = write_changing_film(tmp_path / "changing.mp4")
    reader = save_disagreeing(tmp_path, film, num_targets)
    weights = tmp_path / "model.safetensors"
    write_pyfunc(tmp_path / "served", weights, reader.num_segments, "m-1", "0" * 32, {})
    command = [sys.executable, "-c", ASK, str(tmp_path / "served"), str(film)]
    asked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    answered = json.loads(asked.stdout.splitlines()[-1])
    assert answered["label"] == label  # of averaged logits: c, and a
    found = np.array([value for name, value in answered.items() if name.startswith("p_")]).reshape(-1, 3)
    for target, probabilities in enumerate(found):
        assert probabilities.tolist() == pytest.approx(np.roll(PROBABILITIES, target).tolist(), abs=1e-3)
