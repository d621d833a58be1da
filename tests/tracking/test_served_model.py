"""What MLflow loads averages segments as evaluation does."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hicmae.tracking.model_store import write_pyfunc
from tests.disagreeing import PROBABILITIES, save_disagreeing, write_changing_film
from tests.loading import ask


@pytest.mark.parametrize(("num_targets", "label"), [(1, "a"), (2, "arousal a, valence b")])
def test_segments_that_disagree_average_their_probabilities(tmp_path: Path, num_targets: int, label: str) -> None:
    film = write_changing_film(tmp_path / "changing.mp4")
    reader = save_disagreeing(tmp_path, film, num_targets)
    weights = tmp_path / "model.safetensors"
    write_pyfunc(tmp_path / "served", weights, reader.num_segments, "m-1", "0" * 32, {})
    table = pd.DataFrame({"video": [str(film)], "video_base64": [None]})
    answered = ask(tmp_path / "served", table, tmp_path).iloc[0]
    assert answered["label"] == label  # of averaged logits: c, and a
    found = np.array([value for name, value in answered.items() if name.startswith("p_")]).reshape(-1, 3)
    for target, probabilities in enumerate(found):
        assert probabilities.tolist() == pytest.approx(np.roll(PROBABILITIES, target).tolist(), abs=1e-3)
