"""Batches on their way to the device: the next one is read and copied while the current one is in use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor

from hicmae_core.data.clips import Batch

_LOOK_SECONDS = 0.001


class Feed:
    """Batches on a device, in order.

    A thread reads one batch ahead, also where no processes do. For a GPU it puts it into pinned memory and copies it on
    a stream of its own; `DataLoader` would pin it, but leave the copy to the training.

    Args:
        batches: Batches in the memory of the host; read once.
        device: Where they are wanted.
    """

    def __init__(self, batches: Iterator[Batch], device: torch.device) -> None:
        self._batches, self._device = batches, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._waiting_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(1, "feed") as reader:
            batch = self._read()
            while batch is not None:
                self._hand_over(batch)
                ahead = reader.submit(self._read)
                yield batch
                batch = self._awaited(ahead)

    def pop_data_wait_seconds(self) -> float:
        """Seconds, since this was last asked, in which the device had nothing to do for want of a batch.

        The first batch, for which processes have to start, does not count.
        """
        seconds, self._waiting_seconds = self._waiting_seconds, 0.0
        return seconds

    def _read(self) -> Batch | None:
        batch = next(self._batches, None)
        if batch is None or self._stream is None:
            return batch
        with torch.cuda.stream(self._stream):
            return batch._replace(
                frames=self._copy(batch.frames),
                audio=self._copy(batch.audio),
                labels=None if batch.labels is None else self._copy(batch.labels),
            )

    def _copy(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _awaited(self, ahead: Future[Batch | None]) -> Batch | None:
        if self._stream is not None:  # the device may still have work from earlier batches
            finished = torch.cuda.current_stream(self._device).record_event()
            while not (ahead.done() or finished.query()):
                wait([ahead], _LOOK_SECONDS)
        started = time.perf_counter()
        batch = ahead.result()
        self._waiting_seconds += time.perf_counter() - started
        return batch

    def _hand_over(self, batch: Batch) -> None:
        """Let the stream in use come after the copies, and keep their memory until it is done with them."""
        if self._stream is None:
            return
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        for tensor in (batch.frames, batch.audio, batch.labels):
            if tensor is not None:
                tensor.record_stream(current)
