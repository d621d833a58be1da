"""Trainings of several processes: equal to those of one, and started again by torchrun where one dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .conftest import NO_AUGMENTATION
from .together import together
from .train_toy import train

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_SECONDS = 240
Sections = dict[str, dict[str, Any]]

PLAIN_PRETRAIN = {"crop_scales": [1.0], "audio_gain": False, "batch_size": 12, "contrastive_weight": 0.5}
PLAIN_FINETUNE = {"augmentation": NO_AUGMENTATION, "drop_path": 0, "selection": "validation", "ema_decay": 0.5}


def history(num_processes: int, kind: str, clips: Path, out: Path, sections: Sections) -> pd.DataFrame:
    """The history of a whole training, without what follows the clock."""
    together(num_processes, train, out.with_name(f"{out.name}-results"), kind, clips, out, sections, joined=False)
    assert sorted(path.name for path in out.glob("rank*")) == [f"rank{rank}.txt" for rank in range(num_processes)]
    return pd.read_csv(out / "history.csv").drop(columns=["samples_per_second", "waiting_share"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "num_processes", "sections"),
    [
        ("pretrain", 3, {"pretrain": PLAIN_PRETRAIN | {"gather_negatives": True}}),
        ("pretrain", 2, {"pretrain": PLAIN_PRETRAIN | {"contrastive_weight": 0, "accumulation_steps": 3}}),
        ("finetune", 2, {"finetune": PLAIN_FINETUNE, "compute": {"device": "cpu", "activation_checkpointing": True}}),
        ("finetune", 2, {"finetune": PLAIN_FINETUNE | {"trainable": "head"}}),
        (
            "finetune",
            2,
            {
                "finetune": PLAIN_FINETUNE | {"adaptive_epochs": 2},
                "pretrain": PLAIN_PRETRAIN | {"gather_negatives": True},
            },
        ),
    ],
    ids=["gathered", "accumulated", "checkpointed", "head", "adapted"],
)
def test_several_processes_equal_one(
    clips_folder: Path, tmp_path: Path, kind: str, num_processes: int, sections: Sections
) -> None:
    one = history(1, kind, clips_folder, tmp_path / "one", sections)
    several = history(num_processes, kind, clips_folder, tmp_path / "several", sections)
    names = [name for name in one if name != "contrastive" or sections["pretrain"].get("gather_negatives")]
    np.testing.assert_allclose(several[names], one[names], rtol=1e-4)


@contextmanager
def torchrun(clips: Path, out: Path, sections: Sections, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A pre-training by torchrun, with its two workers, which end with the block at the latest."""
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "tests.training.train_toy", "pretrain"]
    agent = subprocess.Popen(
        [*command, str(clips), str(out), json.dumps(sections)], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        yield agent
    finally:
        agent.terminate()
        agent.wait(TIMEOUT_SECONDS)


def worker(agent: subprocess.Popen[bytes], rank: int) -> int:
    """The process of a rank among those that torchrun started."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    (found,) = [pid for pid in children if f"RANK={rank}" in Path(f"/proc/{pid}/environ").read_text().split("\0")]
    return int(found)


def wait_for(agent: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert agent.poll() is None, "torchrun ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes under /proc")
def test_torchrun_starts_a_killed_worker_again_and_it_goes_on(clips_folder: Path, tmp_path: Path) -> None:
    sections = {"pretrain": {"epochs": 8}, "compute": {"checkpoint_every_minutes": 0, "log_every_steps": 1}}
    out = tmp_path / "killed"
    with torchrun(clips_folder, out, sections, "--standalone", "--nproc-per-node", "2", "--max-restarts", "1") as agent:
        wait_for(agent, lambda: any(int(path.name[:8]) >= 6 for path in out.glob("checkpoints/*.pt")))
        os.kill(worker(agent, rank=0), signal.SIGKILL)
        assert agent.wait(TIMEOUT_SECONDS) == 0
    history(2, "pretrain", clips_folder, tmp_path / "whole", sections)
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    lives = [path.read_text().split()[::2] for path in sorted(out.glob("steps-*.txt"))]
    first, again = [steps for steps in lives if steps]
    assert 0 < int(again[0]) <= int(first[-1]) + 1, "it goes on where it stopped"
