"""Progress bars with the time left, on a terminal; in a log file a line every half minute."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(iterable: Any = None, **options: Any) -> tqdm[Any]:
    """A `tqdm` bar, options as for `tqdm` itself."""
    interval = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(iterable, mininterval=interval, maxinterval=interval, **options)


def log_line(text: str) -> None:
    """A line for the user, above any progress bar."""
    tqdm.write(text, file=sys.stderr)
