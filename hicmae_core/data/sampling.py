"""Which frames and which stretch of sound the model sees of a clip (the published sampling)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ClipWindow:
    """A stretch of a clip.

    Attributes:
        frames: Indices of `clip_length` video frames, ascending; a short clip's last one repeats.
        audio_start: First 16 kHz sample of the sound from the first frame to one stride after the last.
        audio_end: End of that sound, exclusive.
    """

    frames: np.ndarray
    audio_start: int
    audio_end: int

    def later(self, num_samples: int) -> ClipWindow:
        """The same frames with the sound of `num_samples` later, where the clip is a part of a longer sound."""
        return replace(self, audio_start=self.audio_start + num_samples, audio_end=self.audio_end + num_samples)


def test_windows(
    num_frames: int, num_audio_samples: int, clip_length: int, stride: int, num_segments: int
) -> list[ClipWindow]:
    """Evenly spaced windows from a clip's start to its end; a single one lies in the middle.

    Args:
        num_frames: Video frames of the clip, at least 1.
        num_audio_samples: 16 kHz samples of the clip.
        clip_length: Frames per window.
        stride: Distance of a window's frames, in video frames.
        num_segments: Windows wanted; they coincide where the clip is too short to differ.
    """
    last_start = max(_num_strided(num_frames, stride) - clip_length, 0)
    if num_segments == 1:
        starts = [last_start // 2]
    else:
        starts = [segment * last_start // (num_segments - 1) for segment in range(num_segments)]
    return [_window(start * stride, num_frames, num_audio_samples, clip_length, stride) for start in starts]


def random_window(
    num_frames: int, num_audio_samples: int, clip_length: int, stride: int, generator: np.random.Generator
) -> ClipWindow:
    """A window anywhere in the clip, each start frame equally likely; arguments as `test_windows`."""
    num_starts = max(num_frames - (clip_length - 1) * stride, 1)
    start = int(generator.integers(num_starts))
    return _window(start, num_frames, num_audio_samples, clip_length, stride)


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
