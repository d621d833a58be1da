"""SIGTERM and Ctrl-C during a training: noted, so that it can save before it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A training that was asked to end and has saved its state.

    Attributes:
        signal_number: What asked it to; 0 if another process of this training was asked.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Interruption:
    """Which signal has come so far.

    Attributes:
        signal_number: The first one; 0 without one.
    """

    signal_number = 0


@contextmanager
def noted_signals() -> Iterator[Interruption]:
    """Note the first SIGINT or SIGTERM instead of ending at once; a second one takes its usual effect.

    Outside the main thread, where Python lets nobody handle signals, nothing is noted.
    """
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        noted.signal_number = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
