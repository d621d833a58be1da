"""Which windows of a video a model is asked about."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hicmae_core.data.sampling import ClipWindow, test_windows

_USUAL_FPS = 30.0


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
    num_frames: int, num_samples: int, fps: float, length: int, stride: int, num_segments: int, hop_seconds: float
) -> Timeline:
    """Spread windows over a video.

    The timeline's first window starts with the video and its last one ends with it; they are evenly spaced,
    `hop_seconds` apart or a little less, and start on a multiple of the stride, so that they share frames. The windows
    of the whole (as in evaluation: with two segments, the first and the last) are among them where they coincide.

    Args:
        num_frames: Video frames.
        num_samples: 16 kHz samples that go with them.
        fps: Frames per second. At 50 or 60 every second frame is taken, and so on, so that a window lasts as usual.
        length: Frames of a window.
        stride: Distance of a window's frames, in frames of a usual video.
        num_segments: Windows of the whole.
        hop_seconds: Largest distance of the starts of two windows; 0 makes no timeline.
    """
    stride *= max(1, round(fps / _USUAL_FPS))
    whole = test_windows(num_frames, num_samples, length, stride, num_segments)
    line = []
    if hop_seconds:
        later_seconds = max(num_frames - length * stride, 0) / fps
        line = test_windows(num_frames, num_samples, length, stride, 1 + math.ceil(later_seconds / hop_seconds))
    by_start = {int(window.frames[0]): window for window in (*whole, *line)}
    number = {start: index for index, start in enumerate(sorted(by_start))}
    return Timeline(
        windows=[by_start[start] for start in number],
        clip=[number[int(window.frames[0])] for window in whole],
        line=list(dict.fromkeys(number[int(window.frames[0])] for window in line)),
    )
