"""Speech-like audio by the source-filter model: a glottal pulse train and noise, shaped by formants."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hicmae_core.config import SAMPLE_RATE_HZ
from hicmae_core.demo.performance import FRAME_RATE_HZ, VOICE_RATE_HZ, Syllables, Tone, vowel_track
from hicmae_core.demo.script import Speaker

_WINDOW = 512
_HOP = 128
_BANDWIDTHS_HZ = np.array([160.0, 220.0, 320.0, 450.0])
_FORMANT_GAINS = np.array([1.0, 0.7, 0.45, 0.3])
_FOURTH_FORMANT_HZ = 3500.0
_SOURCE_TILT_DB = -7.0
_FRICATIVE, _PLOSIVE, _NASAL = 1, 2, 3


def synthesise(
    num_frames: int, speaker: Speaker, tone: Tone, syllables: Syllables, generator: np.random.Generator
) -> np.ndarray:
    """The audio of a clip.

    Args:
        num_frames: Length in video frames.
        speaker: Whose voice.
        tone: How it sounds.
        syllables: What is said.
        generator: Jitter, noise, and a loudness that says nothing of the emotion.

    Returns:
        Mono samples at 16 kHz, [num_frames * 640], within -1..1.
    """
    num_samples = num_frames * SAMPLE_RATE_HZ // FRAME_RATE_HZ
    times = np.arange(num_samples * VOICE_RATE_HZ // SAMPLE_RATE_HZ + 1) / VOICE_RATE_HZ
    loudness = syllables.envelope(times, tone.attack).max(0)
    pitch = _pitch(speaker, tone, syllables, times, generator)
    buzz = _pulses(_at_samples(pitch, num_samples)) * _at_samples(loudness, num_samples)
    white = generator.normal(size=num_samples)
    breath = white * _at_samples(loudness, num_samples) * 3 * (speaker.breath + tone.breath)
    sound = _shape(buzz + breath, _formant_gains(speaker, tone, syllables, times), times)
    sound += _consonants(white, syllables, times, num_samples) * sound.std()
    level = generator.uniform(0.03, 0.12) / max(float(np.sqrt(np.mean(sound**2))), 1e-6)
    room = gaussian_filter1d(generator.normal(size=num_samples), float(generator.uniform(0.5, 3)))
    room *= generator.uniform(0.0005, 0.002) / room.std()
    result: np.ndarray = np.clip(sound * level + room, -0.99, 0.99).astype(np.float32)
    return result


def _pitch(
    speaker: Speaker, tone: Tone, syllables: Syllables, times: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Fundamental frequency in Hz at `times`."""
    middles = (syllables.starts + syllables.ends) / 2
    accents = tone.range * generator.normal(size=len(middles)) * 0.7
    semitones = tone.pitch + np.interp(times, middles, accents)
    inside = (times > syllables.starts[:, None]) & (times < syllables.ends[:, None])
    through = (times - middles[:, None]) / (syllables.ends - syllables.starts)[:, None]
    semitones = semitones + tone.slope * (inside * through).sum(0) - 0.8 * times / times[-1]
    semitones = gaussian_filter1d(semitones, 2) + 0.1 * generator.normal(size=len(times))
    result: np.ndarray = speaker.pitch_hz * 2 ** (semitones / 12)
    return result


def _pulses(pitch_hz: np.ndarray) -> np.ndarray:
    """A pulse train of flat spectrum below 7.6 kHz, at the pitch given for each sample."""
    phase = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    num_harmonics = int(7600 / pitch_hz.max())
    sine = np.sin(np.pi * phase)
    near_zero = np.abs(sine) < 1e-4
    train = np.sin((2 * num_harmonics + 1) * np.pi * phase) / np.where(near_zero, 1, sine)
    train[near_zero] = 2 * num_harmonics + 1
    result: np.ndarray = (train - 1) / np.sqrt(2 * num_harmonics)
    return result


def _formant_gains(speaker: Speaker, tone: Tone, syllables: Syllables, times: np.ndarray) -> np.ndarray:
    """Gain of the vocal tract, [num_times, window // 2 + 1]."""
    formants = vowel_track(syllables, times, slice(0, 3))
    formants = np.concatenate([formants, np.full((len(times), 1), _FOURTH_FORMANT_HZ)], -1)
    formants = gaussian_filter1d(formants, 3, axis=0) * speaker.tract * tone.formants
    hertz = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE_HZ)
    distance = (hertz - formants[..., None]) / (_BANDWIDTHS_HZ[:, None] / 2)
    resonances = 0.02 + (_FORMANT_GAINS[:, None] / (1 + distance**2)).sum(1)
    octaves = np.log2(np.maximum(hertz, 60) / 500)
    result: np.ndarray = resonances * 10 ** ((_SOURCE_TILT_DB + speaker.tilt_db + tone.tilt) * octaves / 20)
    return result


def _shape(source: np.ndarray, gains: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Filter `source` with gains [num_times, bins] that change over time, by overlap-add."""
    window = np.sqrt(np.hanning(_WINDOW + 1)[:-1])
    padded = np.pad(source, (_WINDOW, _WINDOW))
    starts = np.arange(0, len(padded) - _WINDOW, _HOP)
    centres = (starts - _WINDOW / 2) / SAMPLE_RATE_HZ
    nearest = np.clip(np.round(centres * VOICE_RATE_HZ).astype(int), 0, len(times) - 1)
    pieces = padded[starts[:, None] + np.arange(_WINDOW)] * window
    pieces = np.fft.irfft(np.fft.rfft(pieces) * gains[nearest], _WINDOW) * window
    result = np.zeros(len(padded))
    for start, piece in zip(starts.tolist(), pieces, strict=True):
        result[start : start + _WINDOW] += piece
    return result[_WINDOW:-_WINDOW] * (2 * _HOP / _WINDOW)


def _consonants(white: np.ndarray, syllables: Syllables, times: np.ndarray, num_samples: int) -> np.ndarray:
    """Hiss of fricatives, bursts of plosives and the murmur before nasals, about as loud as the vowels."""
    hiss = np.diff(white, n=2, prepend=[0.0, 0.0]) / 2.5
    murmur = gaussian_filter1d(white, 12) * 4
    sound = np.zeros(num_samples)
    for kind, noise, lead, length in (
        (_FRICATIVE, hiss, 0.05, 0.05),
        (_PLOSIVE, white, 0.01, 0.01),
        (_NASAL, murmur, 0.05, 0.04),
    ):
        starts = syllables.starts[syllables.onsets == kind]
        if len(starts):
            near = np.exp(-0.5 * ((times - starts[:, None] - lead / 2 + 0.02) / (length / 2)) ** 2).sum(0)
            sound += noise * _at_samples(near, num_samples) * 0.3
    return sound


def _at_samples(track: np.ndarray, num_samples: int) -> np.ndarray:
    """A track of 100 values a second, at every sample."""
    result: np.ndarray = np.interp(
        np.arange(num_samples) * (VOICE_RATE_HZ / SAMPLE_RATE_HZ), np.arange(len(track)), track
    )
    return result
