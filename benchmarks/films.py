"""Videos to measure with, and the memory that a process takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from hicmae_core.media.decoding import read_frames
from tests.media.films import write_film

_WIDTH, _HEIGHT = 640, 360
_GREY = (96, 96, 96)


def as_360p(clip: Path, path: Path) -> Path:
    """A clip as 25 frames per second of 640 x 360, grey where it has another shape, without audio."""
    return write_film(path, _fitted(clip))


def _fitted(clip: Path) -> Iterator[np.ndarray]:
    for _, image in read_frames(clip):
        scale = min(_WIDTH / image.shape[1], _HEIGHT / image.shape[0])
        width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        left, top = (_WIDTH - width) // 2, (_HEIGHT - height) // 2
        right, bottom = _WIDTH - width - left, _HEIGHT - height - top
        yield cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_GREY)


def peak_memory_mib() -> float:
    """The most memory that this process has held so far (Linux), MiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
