"""Batches reach the device whole, in order and in time."""

import threading
import time

import pytest
import torch

from benchmarks import epoch
from hicmae_core.config import load_params
from hicmae_core.data.batches import training_batches
from hicmae_core.data.clips import Batch
from hicmae_core.training import feeding
from hicmae_core.training.feeding import Feed

CPU = torch.device("cpu")


def numbered(number: int, size: int = 4) -> Batch:
    filled = torch.full((size, 2, 8, 8, 3), number, dtype=torch.uint8)
    return Batch([f"c{number}"] * size, filled, torch.full((size, 1, 4, 128), float(number)), None)


def test_the_batches_are_those_of_the_reader(labelled):
    def batches():
        return training_batches(labelled, 8, seed=1, num_epochs=2, num_workers=0, drop_last=True)

    for fed, read in zip(Feed(batches(), CPU), batches(), strict=True):
        assert fed.clip_ids == read.clip_ids
        assert all(torch.equal(one, other) for one, other in zip(fed[1:4], read[1:4], strict=True))


class Clock:
    """A clock that a reader moves while the training waits for it."""

    def __init__(self):
        self.now, self.is_waited_for, self._num_calls = 0.0, threading.Event(), 0

    def perf_counter(self):
        if self._num_calls % 2 == 0:  # the first of a pair: the wait begins
            self.is_waited_for.set()
        self._num_calls += 1
        return self.now


def test_waiting_is_what_reading_takes_longer_than_the_work(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(feeding, "time", clock)

    def slow():
        for number in range(4):
            if number:
                assert clock.is_waited_for.wait(60)
                clock.is_waited_for.clear()
            clock.now += 0.25
            yield numbered(number)

    feed = Feed(slow(), CPU)
    assert [batch.clip_ids[0] for batch in feed] == ["c0", "c1", "c2", "c3"]
    assert feed.pop_data_wait_seconds() == 0.75, "the first does not count"
    assert feed.pop_data_wait_seconds() == 0
    feed = Feed(iter([numbered(number) for number in range(4)]), CPU)
    for _ in feed:
        clock.now += 1  # work of the training
    assert feed.pop_data_wait_seconds() == 0


def test_an_error_of_the_reader_comes_after_the_batches_before_it():
    def broken():
        yield numbered(0)
        raise ValueError("clip c1: a face crop is damaged")

    feed = iter(Feed(broken(), CPU))
    assert next(feed).clip_ids[0] == "c0"
    with pytest.raises(ValueError, match=r"^clip c1: a face crop is damaged$"):
        next(feed)


@pytest.mark.slow
def test_reading_is_a_small_part_of_the_demos_training(tmp_path):
    params = load_params()
    short = {"epochs": 2, "warmup_epochs": 0}
    sections = {name: getattr(params, name).model_copy(update=short) for name in ("pretrain", "finetune")}
    params = params.model_copy(update=sections)
    clips = epoch.made_up_clips(tmp_path, 32, params)
    num_threads = torch.get_num_threads()
    shares = [epoch.cpu_shares(*training, params, clips) for training in epoch.TRAININGS]
    torch.set_num_threads(num_threads)
    assert all(0 < reading < 0.1 and 0 < augmentation < 0.1 for reading, augmentation in shares), shares


@pytest.mark.gpu
def test_copies_are_complete_before_they_are_used():
    device = torch.device("cuda", torch.cuda.current_device())
    batches = [numbered(number, size=64) for number in range(50)]
    work = torch.randn(2048, 2048, device=device)
    sums = []
    for batch in Feed(iter(batches), device):
        assert batch.frames.device == batch.audio.device == device
        assert batch.labels is None
        sums.append(batch.audio.mean() + batch.frames.float().mean())
        for _ in range(10):  # a queue of work, so that the next copy overtakes it
            work = torch.nn.functional.normalize(work @ work)
    assert torch.stack(sums).tolist() == [2.0 * number for number in range(50)]


@pytest.mark.gpu
def test_a_busy_device_does_not_wait():
    def slow():
        for number in range(4):
            time.sleep(0.05)
            yield numbered(number)

    device = torch.device("cuda", torch.cuda.current_device())
    feed = Feed(slow(), device)
    for _ in feed:
        torch.cuda._sleep(2_000_000_000)  # about a second
    assert feed.pop_data_wait_seconds() < 0.05
