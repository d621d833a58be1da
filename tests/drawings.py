"""What an image shows, by the colours of its pixels."""

from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

DARKEST = "#08306b"
"""Of confusion matrices: the cell with the largest value."""
MASKED = "#cccccc"
"""Of reconstructions."""
POINTS = "#99c6e0"
"""Of predicted against true values."""


def pixels(path: Path) -> NDArray[np.int64]:
    """``[height, width, 3]``, 0 to 255."""
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int64)


def areas(path: Path, colour: str, least: int = 12) -> int:
    """Areas of a colour, each of at least so many pixels that touch: points, bars, cells."""
    wanted = np.round(255 * np.array(to_rgb(colour)))
    found, _ = label((np.abs(pixels(path) - wanted) <= 2).all(-1))
    return int((np.bincount(found.ravel())[1:] >= least).sum())
