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


class Interrupted(Exception):
    """A training that is cut short."""


class Breaker(Recorder):
    """Raises when it is told of epoch `last`, before the checkpoint of that epoch is written."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        super().log_metrics(values, step)
        if step == self.last:
            raise Interrupted


class StepFile(Recorder):
    """Writes the first loss of each step to a file of its own at once, so that it outlives a process that is killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"steps-{len(list(folder.glob('steps-*.txt'))):02d}.txt"
        self.path.touch()

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        if name in ("step/total", "step/train_loss"):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("".join(f"{step} {value!r}\n" for step, value in points))
