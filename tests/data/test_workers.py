"""Processes that read batches may die at any moment; errors come through as they are."""

import dataclasses
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hicmae_core.data.batches import test_batches as whole_clips
from hicmae_core.data.batches import training_batches
from hicmae_core.data.workers import read_in_order
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import FACES_SCHEMA, ClipStore


class Deadly:
    """Batches of which one kills whoever reads it, the first `num_deaths` times."""

    def __init__(self, folder, number, num_deaths, how=signal.SIGKILL):
        self.folder, self.number, self.num_deaths, self.how = folder, number, num_deaths, how

    def __len__(self):
        return 8

    def __getitem__(self, number):
        died = len(list(self.folder.iterdir()))
        if number == self.number and died < self.num_deaths:
            (self.folder / f"{died}").touch()
            os.kill(os.getpid(), self.how)
        return torch.full((100,), number), os.getpid(), torch.get_num_threads()


def children():
    return [process for process in multiprocessing.active_children() if process.daemon]


@pytest.mark.parametrize("seed", range(3))
def test_killed_workers_cost_nothing(clips, seed, capfd):
    def read():
        return training_batches(clips, 2, seed=7, num_epochs=6, num_workers=2, drop_last=True)

    draw = random.Random(seed)
    expected, got = list(read()), []
    for number, batch in enumerate(read()):
        got.append(batch)
        if number % 4 == 0:
            time.sleep(draw.random() * 0.02)  # so that they die at work, in mid-answer, or idle
            for victim in children()[: draw.randint(1, 2)]:
                os.kill(victim.pid, signal.SIGKILL)
    assert len(got) == len(expected) == 30
    for one, other in zip(expected, got, strict=True):
        assert one.clip_ids == other.clip_ids
        assert all(torch.equal(x, y) for x, y in zip(one[1:4], other[1:4], strict=True))
    assert "a process that reads clips has died (" in capfd.readouterr().err
    assert not children()


def test_two_deaths_at_a_batch_are_outlived(tmp_path):
    read = list(read_in_order(Deadly(tmp_path, 5, 2), 2))
    assert [int(values[0]) for values, _, _ in read] == list(range(8))
    assert {num_threads for _, _, num_threads in read} == {1}
    assert os.getpid() not in {pid for _, pid, _ in read}


def test_three_deaths_at_a_batch_end_the_reading(tmp_path):
    with pytest.raises(ValueError, match=r"died 3 times in a row \(.*lower compute.num_workers.*/dev/shm"):
        next(read_in_order(Deadly(tmp_path, 0, 99, signal.SIGBUS), 2))
    assert len(list(tmp_path.iterdir())) == 3
    assert not children()


def test_a_damaged_crop_is_named_by_a_worker_too(clips, tmp_path):
    jpegs = clips.faces["c1"]["frames"].to_pylist()
    write_shards(tmp_path, [{"clip_id": "c1", "fps": 25.0, "frames": [b"no picture", *jpegs]}], FACES_SCHEMA, 1)
    damaged = dataclasses.replace(clips, faces=ClipStore(tmp_path), clip_ids=["c1"])
    with pytest.raises(ValueError, match="clip c1: a face crop is damaged") as told:
        list(whole_clips(damaged, 1, 1, num_workers=1))
    assert str(told.value).endswith("prepare it again")
    assert "clips.py" in told.value.__notes__[0], "where it happened is not lost"


def test_a_file_that_is_gone_is_an_error_not_a_death(clips, tmp_path, capfd):
    row = {"clip_id": "c1", "fps": 25.0, "frames": clips.faces["c1"]["frames"].to_pylist()}
    write_shards(tmp_path, [row], FACES_SCHEMA, 1)
    damaged = dataclasses.replace(clips, faces=ClipStore(tmp_path), clip_ids=["c1"])
    next(tmp_path.glob("shard-*.feather")).unlink()
    with pytest.raises(ValueError, match="0 files for shard 0"):
        list(whole_clips(damaged, 1, 1, num_workers=1))
    assert "died" not in capfd.readouterr().err


def test_workers_end_with_a_reader_that_is_given_up(clips):
    reader = training_batches(clips, 2, seed=7, num_epochs=6, num_workers=2, drop_last=True)
    next(reader)
    assert len(children()) == 2
    reader.close()
    assert not children()


class TooLarge(Deadly):
    """Batches for which there is no room: files, shared memory too, may be no longer than a page."""

    def __getitem__(self, number):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        return (torch.zeros(100_000),)


def test_full_shared_memory_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"no room .* in shared memory .*--shm-size"):
        list(read_in_order(TooLarge(tmp_path, 0, 0), 1))


READER = """
import multiprocessing, os, signal, sys
from pathlib import Path
from tests.data.test_workers import Deadly
from hicmae_core.data.workers import read_in_order

if __name__ != "__main__":
    raise SystemExit("the program is imported again")
signal.signal(signal.SIGINT, lambda *_: None)
print("ready", flush=True)
reader = read_in_order(Deadly(Path(sys.argv[1]), -1, 0), 2)
next(reader)
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
input()
print(len(list(reader)), flush=True)
"""


@pytest.fixture
def training(tmp_path):
    """A process, head of its group, that reads batches."""
    (tmp_path / "reader.py").write_text(READER)
    (tmp_path / "deaths").mkdir()
    command = [sys.executable, str(tmp_path / "reader.py"), str(tmp_path / "deaths")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(command, **pipes, env=environment, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_workers_end_with_a_training_that_is_killed(training):
    workers = [int(pid) for pid in training.stdout.readline().split()]
    assert len(workers) == 2
    training.kill()
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_signals_to_the_whole_job_are_the_trainings_affair(training):
    def interrupt():
        while not done.wait(0.05):
            os.killpg(training.pid, signal.SIGINT)

    done = threading.Event()
    with ThreadPoolExecutor(1) as nuisance:
        nuisance.submit(interrupt)
        workers = training.stdout.readline().split()
        done.set()
    for pid in workers:
        os.kill(int(pid), signal.SIGTERM)
    out, told = training.communicate("go on\n", timeout=60)
    assert out == "7\n"
    deaths = [line for line in told.splitlines() if line.endswith("others go on in its place")]
    assert 1 <= len(deaths) <= 2
    assert told.splitlines() == deaths
