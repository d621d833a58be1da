"""Log-mel features of a whole clip, computed once (paper section 4.1; Kaldi's filter bank).

Frame k covers the samples [160 k, 160 k + 400). Nothing in it depends on other frames, so a window of a clip's
features equals the features of the waveform cut there, when the cut lies on the 10 ms grid. A gain g on the
waveform adds ``2 ln g`` to every value above the floor.
"""

from __future__ import annotations

import numpy as np
import torch
from torchaudio.compliance import kaldi

from hicmae_core.config import NUM_MEL_BINS, SAMPLE_RATE_HZ

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
