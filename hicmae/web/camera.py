"""A webcam, or whatever else OpenCV opens, as short silent videos."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

_CLOCK_HZ = 90_000
_X264 = {"preset": "ultrafast", "crf": "14"}
_STALE_PICTURES = 5
"""Taken while nobody looked, and kept by the driver."""


class Camera:
    """Pictures of a source.

    Args:
        source: A number, as of ``/dev/video0``, or what else OpenCV opens: an address, or a file.

    Raises:
        ValueError: If it cannot be opened.
    """

    def __init__(self, source: str) -> None:
        self.is_device = source.isdecimal()
        self.name = f"camera {source}" if self.is_device else source
        device = Path(f"/dev/video{source}")
        if self.is_device and sys.platform == "linux" and not device.exists():
            raise ValueError(
                f"{self.name}: there is no {device}; plug a camera in (`ls /dev/video*` lists those there are), "
                f"or hand it to the container with --device {device}"
            )
        self._capture = cv2.VideoCapture(int(source) if self.is_device else source)
        if not self._capture.isOpened():
            fix = (
                f"another program may have {device}, or you may not read it (groups: video)"
                if self.is_device
                else "OpenCV opens no such file or address"
            )
            raise ValueError(f"{self.name}: cannot be opened; {fix}")

    def record(self, seconds: float, path: Path) -> Iterator[float]:
        """Write one video after the other into the same file.

        What a camera shows while a video is inspected is let go; of a file or an address nothing is. A rest that is
        shorter than a video is left out.

        Args:
            seconds: Length of a video.
            path: Where, an ``.mp4``.

        Yields:
            When the video in the file started, in seconds since the first image.

        Raises:
            ValueError: If there is not a single video, or the camera has gone.
        """
        fps = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        begin = time.monotonic()
        num_pictures = 0
        num_films = 0
        while True:
            for _ in range(_STALE_PICTURES * self.is_device):
                self._capture.grab()
            pictures: list[np.ndarray] = []
            times: list[float] = []
            while not times or times[-1] - times[0] < seconds:
                is_there, picture = self._capture.read()
                if not is_there:
                    if self.is_device or not num_films:
                        raise ValueError(f"{self.name}: ends after {num_pictures} images, before a video is full")
                    return
                times.append(time.monotonic() - begin if self.is_device else num_pictures / fps)
                pictures.append(picture)
                num_pictures += 1
            _write(path, pictures, times)
            num_films += 1
            yield times[0]

    def close(self) -> None:
        """Let it go."""
        self._capture.release()


def _write(path: Path, pictures: list[np.ndarray], times: list[float]) -> None:
    """Write BGR images, H.264, each at its time."""
    height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
    rate = Fraction(round(1000 * (len(times) - 1) / (times[-1] - times[0])), 1000)
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate, options=_X264)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = Fraction(1, _CLOCK_HZ)
        for picture, seconds in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="bgr24")
            frame.time_base = Fraction(1, _CLOCK_HZ)
            frame.pts = round((seconds - times[0]) * _CLOCK_HZ)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
