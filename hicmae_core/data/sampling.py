"""Which frames and which stretch of audio the model sees of a clip.

The published sampling counts frames. Where a corpus mixes frame rates, its windows then last longer in one clip than in
another. Here a clip of another rate than the usual one is sampled as if it had been resampled to the usual rate
(`FrameStride`), so that windows last equally long; a clip of the usual rate gets the published sampling to the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hicmae_core.config import StrideUnit

USUAL_FPS = 30.0
"""Usual frame rate of a model that does not say what it is; most of the published corpora have it."""

_TOLERANCE = 0.02
"""Rates that differ less are one: 29.97 and 30."""


@dataclass(frozen=True)
class FrameStride:
    """How far the frames of a window lie apart; the one rule of training, evaluation and prediction.

    Attributes:
        frames: Distance, in frames.
        unit: Of which frames: ``seconds`` counts frames of the usual rate, so that windows last equally long in every
            clip; ``frames`` counts each clip's own, whatever its rate, as published.
        usual_fps: Frame rate of most of the clips that the model is trained on.
    """

    frames: int
    unit: StrideUnit = "seconds"
    usual_fps: float = USUAL_FPS

    def rate(self, fps: float) -> float:
        """A clip's own frames per frame that is counted.

        Args:
            fps: The clip's frame rate.
        """
        ratio = fps / self.usual_fps
        return 1.0 if self.unit == "frames" or abs(ratio - 1) <= _TOLERANCE else ratio

    @property
    def metadata(self) -> dict[str, Any]:
        """What a model's file says of it."""
        return {"frame_stride": self.frames, "stride_unit": self.unit, "usual_fps": self.usual_fps}

    @classmethod
    def of_model(cls, metadata: Mapping[str, Any]) -> FrameStride:
        """From what a model's file says; published and older files say less."""
        known = {"frames": "frame_stride", "unit": "stride_unit", "usual_fps": "usual_fps"}
        return cls(**{"frames": 4, **{field: metadata[key] for field, key in known.items() if key in metadata}})


@dataclass(frozen=True)
class ClipWindow:
    """A stretch of a clip.

    Attributes:
        frames: Indices of `clip_length` video frames, ascending; a short clip's last one repeats, as do frames of a
            clip with fewer frames than are counted.
        audio_start: First 16 kHz sample of the audio from the first frame to one stride after the last.
        audio_end: End of that audio, exclusive.
    """

    frames: np.ndarray
    audio_start: int
    audio_end: int

    def later(self, num_samples: int) -> ClipWindow:
        """The same frames with the audio of `num_samples` later, where the clip is a part of a longer audio."""
        return replace(self, audio_start=self.audio_start + num_samples, audio_end=self.audio_end + num_samples)


def counted_frames(num_frames: int, rate: float) -> int:
    """Frames that are counted of a clip, at least 1; arguments as `test_windows`."""
    return max(round(num_frames / rate), 1)


def test_windows(
    num_frames: int,
    num_audio_samples: int,
    clip_length: int,
    stride: int,
    num_segments: int,
    rate: float = 1.0,  # noqa: PT028, no test of pytest's
) -> list[ClipWindow]:
    """Evenly spaced windows from a clip's start to its end; a single one lies in the middle.

    Args:
        num_frames: Video frames of the clip, at least 1.
        num_audio_samples: 16 kHz samples of the clip.
        clip_length: Frames per window.
        stride: Distance of a window's frames, in frames that are counted.
        num_segments: Windows wanted; they coincide where the clip is too short to differ.
        rate: Video frames per frame that is counted (`FrameStride.rate`).
    """
    counted = counted_frames(num_frames, rate)
    last_start = max(_num_strided(counted, stride) - clip_length, 0)
    if num_segments == 1:
        starts = [last_start // 2]
    else:
        starts = [segment * last_start // (num_segments - 1) for segment in range(num_segments)]
    windows = [_window(start * stride, counted, num_audio_samples, clip_length, stride) for start in starts]
    return [_own_frames(window, num_frames, rate) for window in windows]


def random_window(
    num_frames: int,
    num_audio_samples: int,
    clip_length: int,
    stride: int,
    generator: np.random.Generator,
    rate: float = 1.0,
) -> ClipWindow:
    """A window anywhere in the clip, each start equally likely; arguments as `test_windows`."""
    counted = counted_frames(num_frames, rate)
    num_starts = max(counted - (clip_length - 1) * stride, 1)
    start = int(generator.integers(num_starts))
    return _own_frames(_window(start, counted, num_audio_samples, clip_length, stride), num_frames, rate)


def _own_frames(window: ClipWindow, num_frames: int, rate: float) -> ClipWindow:
    """A window of counted frames as one of the clip's own: each is the own frame that is nearest in time."""
    nearest = np.floor(window.frames * rate + 0.5).astype(window.frames.dtype)
    return replace(window, frames=np.minimum(nearest, num_frames - 1))


def _num_strided(num_frames: int, stride: int) -> int:
    """Frames left when only every `stride`-th is kept."""
    return -(-num_frames // stride)


def _window(start: int, num_frames: int, num_audio_samples: int, clip_length: int, stride: int) -> ClipWindow:
    assert num_frames >= 1, "a clip without frames is rejected when it is prepared"
    steps = np.minimum(np.arange(clip_length), _num_strided(num_frames - start, stride) - 1)
    frames = start + stride * steps
    last = num_frames - 1
    end = min(int(frames[-1]) + stride, last)
    return ClipWindow(frames, start * num_audio_samples // max(last, 1), end * num_audio_samples // max(last, 1))
