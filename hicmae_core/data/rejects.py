"""The clips that could not be prepared: listed in a file, and too many of them end the run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import pandas as pd

from hicmae_core.data.manifest import USABLE
from hicmae_core.files import atomic_path

REJECTS_NAME = "rejects.csv"


class Rejects:
    """Collects rejected clips; at the end, an error's included, they are written to ``rejects.csv``.

    Args:
        folder: Where the file goes.
        num_clips: Clips in all.
        max_fraction: Share of the clips that may be rejected.
    """

    def __init__(self, folder: Path, num_clips: int, max_fraction: float) -> None:
        self._path = folder / REJECTS_NAME
        self._num_clips, self._max_fraction = num_clips, max_fraction
        self._rows: list[tuple[str, str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with atomic_path(self._path) as path:
            rows = pd.DataFrame(sorted(self._rows), columns=["clip_id", "status", "reason"])
            rows.to_csv(path, index=False)

    def __len__(self) -> int:
        return len(self._rows)

    def check(self, clip_id: str, status: str, reason: str) -> None:
        """Take note of a clip if it is rejected.

        Raises:
            ValueError: If too many are, with the counts per status.
        """
        if status in USABLE:
            return
        self._rows.append((clip_id, status, reason))
        if len(self) <= int(self._max_fraction * self._num_clips):
            return
        statuses = Counter(status for _, status, _ in self._rows).most_common()
        counts = ", ".join(f"{count} {status}" for status, count in statuses)
        raise ValueError(
            f"{len(self)} of {self._num_clips} clips were rejected ({counts}) when max_reject_fraction "
            f"{self._max_fraction:g} was passed; the list is {self._path}, the first: {self._rows[0][2]}. "
            "Mend the files, or raise max_reject_fraction"
        )
