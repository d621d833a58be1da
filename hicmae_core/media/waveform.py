"""Audio frames on one clock: 16 kHz mono samples whose places follow the timestamps, however these jump or drift."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
from torchaudio.compliance import kaldi

from hicmae_core.config import NUM_MEL_BINS, SAMPLE_RATE_HZ
from hicmae_core.media.opening import MAX_GAP_SECONDS, MAX_STEP_BACK_SECONDS, MediaError, check_length

_MAX_CLOCK_ERROR_SECONDS = 0.04
"""Timestamps are rounded to milliseconds and jitter; from here on audio is missing, or comes twice."""


@dataclass
class _Segment:
    """Samples without a gap. `start` and `seconds`, its length, are in seconds of the clock."""

    start: float
    setup: tuple[str, str, int]
    seconds: float = 0.0
    pieces: list[np.ndarray] = field(default_factory=list)
    # To s16, because mono in a float format comes out louder by sqrt(2); in seconds, which is twice as fast.
    _resampler: av.AudioResampler = field(
        default_factory=lambda: av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)
    )

    @property
    def end(self) -> float:
        return self.start + self.seconds

    def add(self, frame: av.AudioFrame | None) -> None:
        self.pieces += [piece.to_ndarray()[0] for piece in self._resampler.resample(frame)]
        if frame is not None:
            self.seconds += frame.samples / frame.sample_rate


class Waveform:
    """Audio as it is decoded, each frame where its time says.

    The clock runs from the first frame, so that errors of the timestamps do not add up: where the audio so far and a
    frame's time differ by more than 40 ms, there is silence, or the frame replaces what was there. A frame without
    a time follows the one before. Sample rate, sample format and channels may change.
    """

    def __init__(self, path: Path, max_seconds: float) -> None:
        self._zero: float | None = None
        self._path, self._max_seconds = path, max_seconds
        self._segments: list[_Segment] = []
        self._furthest = 0.0

    @property
    def start(self) -> float | None:
        """Time of the first sample on the container's clock, seconds; None if no frame has a time."""
        return None if self._zero is None else self._zero + self._first

    def add(self, frame: av.AudioFrame) -> None:
        """Take the next frame.

        Raises:
            MediaError: If its time jumps, or the audio becomes too long.
        """
        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        before = self._segments[-1] if self._segments else None
        expected = 0.0 if before is None else before.end
        at = expected
        if frame.time is not None:
            self._zero = frame.time - expected if self._zero is None else self._zero
            at = frame.time - self._zero
        if not -MAX_STEP_BACK_SECONDS <= at - self._furthest <= MAX_GAP_SECONDS:
            gap, where = at - self._furthest, self._furthest
            raise MediaError(self._path, "unreadable", f"its audio jumps by {gap:.1f} s at {where:.1f} s")
        check_length(self._path, at + frame.samples / frame.sample_rate, self._max_seconds)
        if before is None or setup != before.setup or abs(at - expected) > _MAX_CLOCK_ERROR_SECONDS:
            if before is not None:
                before.add(None)
            self._segments.append(_Segment(at, setup))
        self._segments[-1].add(frame)
        self._furthest = max(self._furthest, self._segments[-1].end)

    def samples(self) -> np.ndarray:
        """All of it, float32 ``[num_samples]`` in [-1, 1]; ends the last segment."""
        if not self._segments:
            return np.zeros(0, np.float32)
        self._segments[-1].add(None)
        placed = [
            (round((segment.start - self._first) * SAMPLE_RATE_HZ), np.concatenate(segment.pieces))
            for segment in self._segments
            if segment.pieces
        ]
        waveform = np.zeros(max((at + len(piece) for at, piece in placed), default=0), np.float32)
        for at, piece in placed:
            waveform[at : at + len(piece)] = piece / np.float32(32768)
        return waveform

    @property
    def _first(self) -> float:
        """Where the earliest segment begins: the first frame may have come too late."""
        return min((segment.start for segment in self._segments), default=0.0)


FRAME_SHIFT_SAMPLES = SAMPLE_RATE_HZ // 100
FRAME_LENGTH_SAMPLES = SAMPLE_RATE_HZ // 40

_CHUNK_FRAMES = 6000


def log_mel(waveform: np.ndarray) -> np.ndarray:
    """Log-mel filter bank of a waveform: 128 bins, 25 ms Hann windows, 10 ms apart, no dither, no energy.

    Args:
        waveform: Mono samples at 16 kHz in [-1, 1], float32 ``[num_samples]``, of any length.

    Returns:
        float32 ``[num_frames, 128]``, not normalised, with ``num_frames = 1 + (num_samples - 400) // 160``, or 0
        for less than 400 samples.
    """
    num_frames = max(0, 1 + (len(waveform) - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES)
    features = np.empty((num_frames, NUM_MEL_BINS), np.float32)
    for start in range(0, num_frames, _CHUNK_FRAMES):  # bounds the memory of a long clip
        end = min(start + _CHUNK_FRAMES, num_frames)
        samples = waveform[start * FRAME_SHIFT_SAMPLES : (end - 1) * FRAME_SHIFT_SAMPLES + FRAME_LENGTH_SAMPLES]
        features[start:end] = kaldi.fbank(
            torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None],
            sample_frequency=SAMPLE_RATE_HZ,
            window_type="hanning",
            num_mel_bins=NUM_MEL_BINS,
            htk_compat=True,
            use_energy=False,
            dither=0.0,
        ).numpy()
    return features
