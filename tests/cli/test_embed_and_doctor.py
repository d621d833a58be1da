"""`hicmae embed` and `hicmae doctor`."""

import pandas as pd
import pytest
import torch

from hicmae_core.inference.video import open_video_reader


def test_features_are_rows_of_a_table(hicmae, folder):
    ask = ("embed", "one.mp4", "none.mp4", "--model", ".", "--processes", "0", "--out", "features.parquet")
    result = hicmae(*ask, cwd=folder)
    assert result.returncode == 0, result.stderr
    table = pd.read_parquet(folder / "features.parquet")
    assert list(table["status"]) == ["ok", "missing"]
    assert table["features"][1] is None
    reader = open_video_reader(folder / "model.safetensors", None, 2, torch.device("cpu"))
    ((window_outputs,),) = reader.all_window_outputs([folder / "one.mp4"], hop_seconds=0)
    assert table["features"][0].tolist() == pytest.approx(window_outputs.features.mean(dim=0).tolist(), abs=1e-5)
    assert hicmae(*ask, "--hop", "0.5", cwd=folder).returncode == 0
    windows = pd.read_parquet(folder / "features.parquet").query("status == 'ok'")
    assert len(windows) > 2
    assert windows["start_seconds"].is_monotonic_increasing
    assert hicmae("embed", "none.mp4", "--model", ".", "--out", "x.parquet", cwd=folder).returncode == 1


def test_the_doctor_names_the_mend(hicmae, tmp_path):
    healthy = hicmae("doctor", cwd=tmp_path)
    assert healthy.returncode == 0, healthy.stdout
    assert "centerface" in healthy.stdout
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "dvc.lock").write_text("")
    (tmp_path / "requirements.lock").write_text("numpy==0.1 ; python_version > '3'\nnowhere==1.0\n")
    (tmp_path / "params.yaml").write_text("sede: 1\n")
    ill = hicmae("doctor", cwd=tmp_path)
    assert ill.returncode == 1
    for words in ("make setup", "nowhere missing instead of 1.0", "git checkout dvc.lock", "did you mean `seed`"):
        assert words in ill.stdout
    assert "Traceback" not in ill.stderr
