"""Sends an outbox's entries from a thread of its own, so that a training never waits for MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

from hicmae.tracking.outbox import Entry, Outbox, item_of, parts_of
from hicmae_core.progress import log_line

_LINGER_SECONDS = 1.0
"""Entries that come within it travel together."""
_MAX_PAUSE_SECONDS = 5.0
_MEGABYTES_PER_SECOND = 1.0
"""The slowest connection that a file is waited for."""

_MAX_NAMED = 5
"""Refused items that are named."""

Deliver = Callable[[Sequence[Entry]], None]
"""Sends entries; the same again does no harm."""


class Refused(Exception):
    """The store can be reached, and will never take these entries."""


class Sender:
    """Sends what is in an outbox and what is put there, in order, again and again until it has arrived.

    Args:
        outbox: What is sent; the caller closes it, after `finish`.
        deliver: Raises `Refused` for what never will arrive, anything else for what may arrive later.
        store: The store's name for the user.
    """

    def __init__(self, outbox: Outbox, deliver: Deliver, store: str) -> None:
        self._outbox = outbox
        self._deliver = deliver
        self._store = store
        self._num_failures = 0
        self._refused: set[str] = set()
        self._last_success = time.monotonic()
        self._is_finishing = Event()
        self._has_given_up = Event()
        self._thread = Thread(target=self._run, name="MLflow sender", daemon=True)
        self._thread.start()

    def finish(self, patience_seconds: float) -> None:
        """Wait until all has arrived, or nothing has for this long and as long as the files' size makes plausible.

        What has not arrived stays in the outbox, and it is reported.
        """
        self._is_finishing.set()
        start = time.monotonic()
        while self._thread.is_alive():
            allowed = patience_seconds
            if self._num_failures == 0:  # a file may be on its way
                allowed += self._outbox.num_megabytes() / _MEGABYTES_PER_SECOND
            if time.monotonic() - max(start, self._last_success) > allowed:
                break
            self._thread.join(0.1)
        self._has_given_up.set()
        if len(self._outbox):
            log_line(
                f"MLflow at {self._store} cannot be reached still: {len(self._outbox)} records of this run stay in "
                f"{self._outbox.folder}; the next stage sends them, or: hicmae send-metrics"
            )

    def _run(self) -> None:
        while not self._has_given_up.is_set():
            batch = self._outbox.next_batch()
            if batch and self._attempt(batch):
                continue
            if not batch and self._is_finishing.is_set():
                return
            if self._is_finishing.is_set():
                self._has_given_up.wait(_LINGER_SECONDS)
            else:
                self._is_finishing.wait(min(_LINGER_SECONDS + self._num_failures, _MAX_PAUSE_SECONDS))

    def _attempt(self, batch: Sequence[Entry]) -> bool:
        try:
            self._send(batch)
        except Exception as error:  # whatever the client of a store raises, a training goes on
            self._fail(error)
            return False
        self._succeed(len(batch))
        return True

    def _send(self, entries: Sequence[Entry]) -> None:
        """Deliver entries; of what is refused, all but the single items that are refused themselves."""
        try:
            self._deliver(entries)
        except Refused as refusal:
            parts = parts_of(entries)
            if not parts:
                self._report_refused(item_of(entries[0]), refusal)
            for part in parts:
                self._send(part)

    def _report_refused(self, item: str, refusal: Refused) -> None:
        """Name each item once, and no more than some: a run that is gone refuses all."""
        if item in self._refused or len(self._refused) == _MAX_NAMED:
            return
        self._refused.add(item)
        last = "; further ones are not named" if len(self._refused) == _MAX_NAMED else ""
        log_line(f"MLflow at {self._store} refuses {item}, and it is lost: {reason(refusal)}{last}")

    def _fail(self, error: Exception) -> None:
        self._num_failures += 1
        if self._num_failures == 2:  # a single one is nothing to worry about
            log_line(
                f"MLflow at {self._store} cannot be reached ({reason(error)}); "
                f"metrics are kept in {self._outbox.queue} and sent when it is back"
            )

    def _succeed(self, num_entries: int) -> None:
        self._outbox.drop(num_entries)
        if self._num_failures > 1:
            log_line(f"MLflow at {self._store} is back; what was kept is being sent")
        self._num_failures = 0
        self._last_success = time.monotonic()


def reason(error: BaseException) -> str:
    """What was at the bottom of an error, in a line: MLflow wraps a refused connection four times."""
    while below := error.__cause__ or error.__context__:
        error = below
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0][:200]
