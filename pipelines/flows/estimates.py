"""How far a flow is and how long it will take, as a progress artifact, from the seconds that stages took before."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from threading import Lock
from types import TracebackType
from typing import cast
from uuid import UUID

from prefect import runtime
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from hicmae_core.files import write_json

_DURATIONS = Path(".dvc/tmp/stage-seconds.json")
_TELL_EVERY_SECONDS = 10.0
_UNKNOWN_SECONDS = 60.0
_NEARLY = 0.95
"""What a stage that takes longer than expected is counted as."""


class Progress:
    """The progress of some stages. To be used with ``with``; its methods may be called from many threads.

    Args:
        root: The project, which remembers the seconds.
        stages: What will run.
        max_parallel: Stages at the same time.
    """

    def __init__(self, root: Path, stages: Sequence[str], max_parallel: int) -> None:
        self._file = root / _DURATIONS
        self._known = _read(self._file)
        self._expected = {stage: expected_seconds(stage, self._known) for stage in stages}
        self._max_parallel = max_parallel
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()
        self._lock = Lock()
        self._next_telling = time.monotonic() + _TELL_EVERY_SECONDS
        self._artifact: UUID | None = None

    def __enter__(self) -> Progress:
        if self._expected:
            key = f"{runtime.flow_run.flow_name}-progress"
            made = create_progress_artifact(0.0, key=key, description=self.description())
            self._artifact = cast(UUID, made)  # no coroutine outside of one
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._log_line()

    def begin(self, stage: str) -> None:
        """Note that a stage starts."""
        with self._lock:
            self._began[stage] = time.monotonic()
        self._log_line()

    def end(self, stage: str, seconds: float | None) -> None:
        """Note that a stage has ended, and the `seconds` it took if it ran; DVC's cache says nothing of a run."""
        with self._lock:
            self._ended.add(stage)
            if seconds is not None:
                self._known[stage] = round(seconds, 1)
                write_json(self._file, self._known)
        self._log_line()

    def report_now_and_then(self) -> None:
        """Show where we are, if that was not done just now."""
        if time.monotonic() >= self._next_telling:
            self._log_line()

    def fraction(self) -> float:
        """The share of the expected seconds that is behind us."""
        total = sum(self._expected.values())
        return sum(map(self._done_seconds, self._expected)) / total if total else 1.0

    def seconds_left(self) -> float:
        """Expected, from now to the end of the last stage."""
        left = [expected - self._done_seconds(stage) for stage, expected in self._expected.items()]
        return max(sum(left) / self._max_parallel, max(left, default=0.0))

    def description(self) -> str:
        """Such as ``2 of 5 stages done, about 3 min left; now: finetune@demo-1``."""
        running = [stage for stage in self._began if stage not in self._ended]
        now = f"; now: {', '.join(running)}" if running else ""
        progress = f"{len(self._ended)} of {len(self._expected)} stages done"
        return f"{progress}, about {_spoken(self.seconds_left())} left{now}" if self.seconds_left() else progress

    def _done_seconds(self, stage: str) -> float:
        if stage in self._ended:
            return self._expected[stage]
        if stage not in self._began:
            return 0.0
        return min(time.monotonic() - self._began[stage], _NEARLY * self._expected[stage])

    def _log_line(self) -> None:
        with self._lock:
            self._next_telling = time.monotonic() + _TELL_EVERY_SECONDS
            percent, description = 100 * self.fraction(), self.description()
        if self._artifact is not None:
            update_progress_artifact(self._artifact, progress=percent, description=description)


def expected_seconds(stage: str, known: Mapping[str, float]) -> float:
    """What a stage took before; else what its like took, such as other folds; else what any stage took."""
    base = stage.partition("@")[0]
    alike = [seconds for name, seconds in known.items() if name.partition("@")[0] == base]
    return known.get(stage) or mean(alike or known.values() or [_UNKNOWN_SECONDS])


def _read(file: Path) -> dict[str, float]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
