"""Trainings that are killed, interrupted, or run out of disk: what comes of them equals what nobody disturbed."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from .killing import STEPS_PER_KILL, Life, Training, differences, kill_often, sections

ROOT = Path(__file__).resolve().parent.parent.parent
NUM_STEPS = 12
MIB = 2**20


@pytest.fixture(scope="module")
def whole(clips_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Life]:
    """A pre-training that nobody disturbs."""
    training = Training("pretrain", clips_folder, tmp_path_factory.mktemp("whole"), sections("pretrain", NUM_STEPS))
    return training, training.live()


@pytest.fixture
def training(clips_folder: Path, tmp_path: Path) -> Training:
    """The same, to be disturbed."""
    return Training("pretrain", clips_folder, tmp_path / "training", sections("pretrain", NUM_STEPS))


def check_killed_often(kind: str, clips: Path, folder: Path, num_kills: int) -> None:
    chosen = sections(kind, STEPS_PER_KILL * num_kills)
    whole, parts = (Training(kind, clips, folder / name, chosen) for name in ("whole", "parts"))
    undisturbed = whole.live()
    lives = [life for _, life in kill_often(parts, num_kills, seed=0)]
    lives.append(parts.live())
    assert differences(whole, undisturbed, parts, lives) == []
    assert lives[-1].first > 0


@pytest.mark.parametrize("kind", ["pretrain", pytest.param("finetune", marks=pytest.mark.slow)])
def test_killed_at_random_moments(clips_folder: Path, tmp_path: Path, kind: str) -> None:
    check_killed_often(kind, clips_folder, tmp_path, num_kills=2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_every_operation_on_a_file(clips_folder: Path, tmp_path: Path) -> None:
    chosen = sections("finetune", NUM_STEPS)
    chosen["finetune"] |= {
        "epochs": 3,
        "batch_size": 24,
        "base_lr": 1e-9,
        "min_lr": 0,
    }  # the first epoch stays the best
    whole = Training("finetune", clips_folder, tmp_path / "whole", chosen)
    undisturbed = whole.live()
    for calls in range(1, 1000):
        parts = Training("finetune", clips_folder, tmp_path / str(calls), chosen)
        parts.start(calls_left=calls)
        lives = [parts.finish(0, -signal.SIGKILL)]
        if lives[0].exit_code == 0:
            break
        lives.append(parts.live())
        found = differences(whole, undisturbed, parts, [life for life in lives if life.losses])
        assert found == [], f"killed at operation {calls}"
        assert not (parts.folder / "checkpoints").exists()
    assert calls > 15


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_20_times(clips_folder: Path, tmp_path: Path) -> None:
    check_killed_often("pretrain", clips_folder, tmp_path, num_kills=20)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_saves_and_ends(
    clips_folder: Path, training: Training, whole: tuple[Training, Life], number: signal.Signals
) -> None:
    chosen = sections("pretrain", NUM_STEPS, checkpoint_every_minutes=60, num_workers=2)
    command = [sys.executable, "-m", "tests.training.train_toy", "pretrain", clips_folder, training.folder]
    process = subprocess.Popen(
        [*command, json.dumps(chosen)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    steps = training.folder / "steps-00.txt"
    deadline = time.monotonic() + 100
    while not (steps.is_file() and steps.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    last = last_step(steps)
    os.killpg(process.pid, number)  # the readers of clips get it, too, as from a terminal
    _, told = process.communicate(timeout=100)
    assert last_step(steps) <= last + 2
    assert process.returncode == 128 + number
    assert "saved after step" in told
    assert "Traceback" not in told

    rest = training.live()
    assert rest.first == last_step(steps) + 1
    told_before = {step: whole[1].losses[step] for step in range(rest.first)}
    assert differences(*whole, training, [Life(0, told_before, ""), rest]) == []


def last_step(path: Path) -> int:
    return int(path.read_text().splitlines()[-1].split()[0])


@pytest.mark.slow
def test_a_dead_reader_of_clips_is_replaced(clips_folder: Path, tmp_path: Path, whole: tuple[Training, Life]) -> None:
    training = Training("pretrain", clips_folder, tmp_path, sections("pretrain", NUM_STEPS, num_workers=2))
    training.start()
    training.wait_for_steps(2)
    children = psutil.Process(training.pid).children()
    readers = [reader for child in children for reader in child.children()]  # of the fork server
    assert len(readers) == 2
    readers[0].kill()
    life = training.finish()
    assert "a process that reads clips has died" in life.told
    assert differences(*whole, training, [life]) == []


def test_a_full_disk_costs_checkpoints_not_the_training(training: Training, whole: tuple[Training, Life]) -> None:
    training.start()
    resource.prlimit(training.pid, resource.RLIMIT_FSIZE, (20 * MIB, resource.RLIM_INFINITY))
    life = training.finish()
    assert "could not be written" in life.told
    assert differences(*whole, training, [life]) == []


def test_a_disk_too_full_for_the_model(training: Training, whole: tuple[Training, Life]) -> None:
    training.start()
    training.wait_for_steps(4)
    resource.prlimit(training.pid, resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))
    life = training.finish(1)
    *_, last = life.told.splitlines()
    assert re.fullmatch("error: File too large: .*model.safetensors", last)
    assert "Traceback" not in life.told
    assert not list(training.folder.glob("*.safetensors"))
    rest = training.live()
    assert rest.first >= 2
    assert differences(*whole, training, [life, rest]) == []
