"""Which windows of a video a model is asked about."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hicmae_core.data.sampling import ClipWindow, FrameStride, counted_frames, test_windows


@dataclass(frozen=True)
class Timeline:
    """The windows of a video, each once.

    Attributes:
        windows: In order of time.
        clip: Numbers of those that are averaged for the whole, with repeats in a short clip.
        line: Numbers of those that make the timeline.
    """

    windows: list[ClipWindow]
    clip: list[int]
    line: list[int]


def timeline(
    num_frames: int,
    num_samples: int,
    fps: float,
    length: int,
    stride: FrameStride,
    num_segments: int,
    hop_seconds: float,
) -> Timeline:
    """Spread windows over a video.

    The timeline's first window starts with the video and its last one ends with it; they are evenly spaced,
    `hop_seconds` apart or a little less, and start on a multiple of the stride, so that they share frames. The windows
    of the whole (as in evaluation: with two segments, the first and the last) are among them where they coincide.

    Args:
        num_frames: Video frames.
        num_samples: 16 kHz samples that go with them.
        fps: Frames per second.
        length: Frames of a window.
        stride: Distance of a window's frames, as of the clips that the model is trained on.
        num_segments: Windows of the whole.
        hop_seconds: Largest distance of the starts of two windows; 0 makes no timeline.
    """
    rate = stride.rate(fps)
    whole = test_windows(num_frames, num_samples, length, stride.frames, num_segments, rate)
    line = []
    if hop_seconds:
        later_seconds = max(counted_frames(num_frames, rate) - length * stride.frames, 0) * rate / fps
        num_windows = 1 + math.ceil(later_seconds / hop_seconds)
        line = test_windows(num_frames, num_samples, length, stride.frames, num_windows, rate)
    by_start = {_start(window): window for window in (*whole, *line)}
    number = {start: index for index, start in enumerate(sorted(by_start))}
    return Timeline(
        windows=[by_start[start] for start in number],
        clip=[number[_start(window)] for window in whole],
        line=list(dict.fromkeys(number[_start(window)] for window in line)),
    )


def _start(window: ClipWindow) -> tuple[int, int]:
    """Where a window starts; in a slow video two windows may have the first frame in common."""
    return int(window.frames[0]), window.audio_start
