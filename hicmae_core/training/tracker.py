"""Where a training says what happened; the library knows no experiment tracker by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Tracker(Protocol):
    """Remembers numbers and files of one run.

    A resumed training continues after its last checkpoint, so the same steps and epochs may be
    reported twice, with the same values; an implementation keeps one of each.
    """

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Remember one value of each metric; `step` is the epoch, from 0."""
        ...

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Remember many points of one metric at once; a point is (optimizer step from 0, value)."""
        ...

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Remember a file, as it is now, under `folder`."""
        ...

    def log_image(self, path: Path) -> None:
        """Remember a picture, to be compared with those of the same file name of other runs."""
        ...

    def describe(self, text: str) -> None:
        """Say what came of the run, in Markdown."""
        ...


class NullTracker:
    """Remembers nothing."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Forget `values`."""

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Forget `points`."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Leave `path` alone."""

    def log_image(self, path: Path) -> None:
        """Leave `path` alone."""

    def describe(self, text: str) -> None:
        """Forget `text`."""
