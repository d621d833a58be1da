"""Batches of prepared clips, in an order that can be reproduced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.data.joined import Clips, JoinedClips
from hicmae_core.data.workers import read_in_order


def num_batches(num_clips: int, batch_size: int, drop_last: bool) -> int:
    """Batches of an epoch.

    Raises:
        ValueError: If there are too few clips for a single batch.
    """
    number = num_clips // batch_size if drop_last else -(-num_clips // batch_size)
    if number == 0:
        raise ValueError(f"batch_size {batch_size} is more than the {num_clips} training clips; lower it")
    return number


def training_batches(
    dataset: Clips,
    batch_size: int,
    seed: int,
    num_epochs: int,
    num_workers: int,
    drop_last: bool,
    rank: int = 0,
    world_size: int = 1,
    start_step: int = 0,
    weights: np.ndarray | None = None,
) -> Iterator[Batch]:
    """All batches of a training, epoch after epoch: random windows in random order.

    What is drawn depends on `seed`, the epoch and the place in the epoch alone: not on the number of workers or
    processes, nor on where reading starts. The reader's whole state is therefore the number of batches read: given
    back as `start_step`, it goes on where a run stopped. Workers go from one epoch to the next without a pause.

    Args:
        dataset: The clips.
        batch_size: Clips of a batch over all processes, a multiple of `world_size`.
        seed: Seed of the run.
        num_epochs: Epochs of the whole training.
        num_workers: Processes that decode; 0 decodes in this one.
        drop_last: Leave out each epoch's last, smaller batch; needed where several processes share batches.
        rank: This process among `world_size`, which each get a contiguous share of every batch.
        world_size: Processes that train together.
        start_step: First batch wanted, counted over all epochs.
        weights: How often to draw each clip, ``[N]``, in proportion. An epoch then has as many clips as ever, drawn
            with replacement, each time with another window. None reads each clip once an epoch.

    Raises:
        ValueError: If `batch_size` does not fit the processes or the clips; while reading, if a crop is damaged or
            workers die again and again.
    """
    if batch_size % world_size or (world_size > 1 and not drop_last):
        raise ValueError(f"batch_size {batch_size} must be a multiple of the {world_size} processes, and drop_last set")
    steps_per_epoch = num_batches(len(dataset), batch_size, drop_last)
    steps = range(start_step, num_epochs * steps_per_epoch)
    share = batch_size // world_size
    batches = _TrainingBatches(
        dataset, steps, steps_per_epoch, batch_size, slice(rank * share, (rank + 1) * share), seed, weights
    )
    return read_in_order(batches, num_workers)


def test_batches(dataset: ClipDataset, batch_size: int, num_segments: int, num_workers: int) -> Iterator[Batch]:
    """All clips in order, each as `num_segments` windows; the same to the bit every time."""
    indices = range(len(dataset))
    batches = [indices[start : start + batch_size] for start in indices[::batch_size]]
    return read_in_order(_TestBatches(batches, dataset, num_segments), num_workers)


@dataclass(frozen=True)
class _TrainingBatches:
    """Random windows, by their places in the epochs."""

    dataset: Clips
    steps: range
    steps_per_epoch: int
    batch_size: int
    share: slice
    seed: int
    weights: np.ndarray | None

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> Batch:
        epoch, batch = divmod(self.steps[number], self.steps_per_epoch)
        start = batch * self.batch_size
        places = range(len(self.dataset))[start : start + self.batch_size][self.share]
        order = self._orders.of(epoch)
        generators = [np.random.default_rng([self.seed, epoch, place + 1]) for place in places]
        return self.dataset.training_batch([int(order[place]) for place in places], generators)

    @cached_property
    def _orders(self) -> _Orders:
        kinds = self.dataset.kinds if isinstance(self.dataset, JoinedClips) else None
        return _Orders(len(self.dataset), self.seed, self.weights, kinds)


class _Orders:
    """The clip at each place of an epoch; of one epoch at a time."""

    def __init__(self, num_clips: int, seed: int, weights: np.ndarray | None, kinds: np.ndarray | None) -> None:
        self._num_clips, self._seed, self._kinds = num_clips, seed, kinds
        self._weights = None if weights is None else weights / weights.sum()
        self._epoch: int | None = None

    def of(self, epoch: int) -> np.ndarray:
        """``[N]`` indices."""
        if epoch != self._epoch:
            generator = np.random.default_rng([self._seed, epoch, 0])
            if self._weights is None:
                self._order = _evenly_mixed(generator.permutation(self._num_clips), self._kinds)
            else:
                self._order = generator.choice(self._num_clips, self._num_clips, p=self._weights)
            self._epoch = epoch
        return self._order


def _evenly_mixed(order: np.ndarray, kinds: np.ndarray | None) -> np.ndarray:
    """An order of clips in which each kind is spread evenly, so that every batch has its share of all of them."""
    if kinds is None:
        return order
    places = np.empty(len(order))
    for kind in np.unique(kinds):
        own = np.flatnonzero(kinds[order] == kind)
        places[own] = (np.arange(len(own)) + 0.5) / len(own)
    return order[np.argsort(places, kind="stable")]


@dataclass(frozen=True)
class _TestBatches:
    batches: Sequence[range]
    dataset: ClipDataset
    num_segments: int

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return self.dataset.test_batch(self.batches[number], self.num_segments)
