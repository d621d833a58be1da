"""Progress bars with the time left, on a terminal; in a log file a line every half minute."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(*arguments: Any, **options: Any) -> tqdm:
    """A `tqdm` bar, arguments as for `tqdm` itself."""
    interval = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(*arguments, mininterval=interval, maxinterval=interval, **options)
