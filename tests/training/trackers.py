"""Trackers that tests look into, or that break on purpose."""

from collections.abc import Mapping, Sequence
from pathlib import Path


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.metrics: dict[int, dict[str, float]] = {}
        self.series: dict[str, list[tuple[int, float]]] = {}

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        self.metrics[step] = dict(values)

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        self.series.setdefault(name, []).extend(points)

    def log_artifact(self, path: Path, folder: str = "") -> None:
        pass

    def log_image(self, path: Path) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


class Broken(Exception):
    """A training that is cut short."""


class Breaker(Recorder):
    """Raises when it is told of optimizer step `last`, before the checkpoint after that step is written."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        if any(step >= self.last for step, _ in points):
            raise Broken
        super().log_series(name, points)
