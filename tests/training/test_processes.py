"""Trainings as processes: killed and run again, and several together."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .conftest import NO_AUGMENTATION

ROOT = Path(__file__).resolve().parent.parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(launcher: list[str], kind: str, clips: Path, out: Path, keys: dict[str, Any]) -> subprocess.Popen[bytes]:
    command = [*launcher, "-m", "tests.training.train_toy", kind, str(clips), str(out), json.dumps({kind: keys})]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


def run(launcher: list[str], kind: str, clips: Path, out: Path, keys: dict[str, Any]) -> pd.DataFrame:
    assert start(launcher, kind, clips, out, keys).wait(timeout=200) == 0
    return pd.read_csv(out / "history.csv")


@pytest.mark.slow
def test_killed_and_run_again_equals_uninterrupted(clips_folder: Path, tmp_path: Path) -> None:
    keys = {"epochs": 12}
    victim = start([sys.executable], "pretrain", clips_folder, tmp_path / "killed", keys)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed" / "checkpoints").glob("00000003-*.pt")):
        assert victim.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.kill()
    victim.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    run([sys.executable], "pretrain", clips_folder, tmp_path / "killed", keys)
    run([sys.executable], "pretrain", clips_folder, tmp_path / "whole", keys)
    killed, whole = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("killed", "whole"))
    assert killed == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("pretrain", {"contrastive_weight": 0, "crop_scales": [1.0], "audio_gain": False}),
        ("finetune", {"augmentation": NO_AUGMENTATION, "drop_path": 0}),
    ],
)
def test_two_processes_equal_one(clips_folder: Path, tmp_path: Path, kind: str, keys: dict[str, Any]) -> None:
    one = run([sys.executable], kind, clips_folder, tmp_path / "one", keys)
    two = run(TORCHRUN, kind, clips_folder, tmp_path / "two", keys)
    names = ["video", "audio"] if kind == "pretrain" else ["train_loss"]
    np.testing.assert_allclose(two[names], one[names], rtol=1e-4)
    assert sorted(path.name for path in (tmp_path / "two").glob("rank*")) == ["rank0.txt", "rank1.txt"]
    assert list(two["lr"]) == list(one["lr"])
