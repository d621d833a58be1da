"""What a speaker does in a clip: syllables, and the face and the voice that move with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hicmae_core.demo.face import Pose
from hicmae_core.demo.portrait import MOVEMENTS
from hicmae_core.demo.script import EMOTIONS, ScriptedClip

FRAME_RATE_HZ = 25
VOICE_RATE_HZ = 100
"""Rate of the tracks that steer the voice."""

FACE_UNITS = (*MOVEMENTS, "lid", "parting")
"""What an emotion does to a face: `MOVEMENTS`, the closure of the lids and the pixels between resting lips."""
_EXPRESSIONS = {
    "anger": {"brow_inner": -4.5, "brow_outer": 0.8, "brow_knit": 3.0, "eye_wide": 0.2, "squint": 0.6,
              "corner_up": -1.5, "corner_out": -0.8, "lip_press": 1.3},
    "happiness": {"brow_inner": 0.8, "brow_outer": 1.0, "squint": 1.8, "corner_up": 4.5, "corner_out": 4.0,
                  "lid": 0.12, "parting": 2.0},
    "neutral": {},
    "sadness": {"brow_inner": 4.5, "brow_outer": -2.0, "brow_knit": 2.0, "eye_wide": -0.1, "corner_up": -4.5,
                "corner_out": -1.5, "lid": 0.35},
}  # fmt: skip
VOICE_UNITS = ("pitch", "range", "slope", "rate", "tilt", "breath", "attack", "pause", "formants")
_TONES = {
    "anger": (3.5, 3.5, -3.5, 4.8, 3.5, 0.01, 0.012, 0.04, 1.0),
    "happiness": (4.5, 4.5, 3.5, 4.8, 0.0, 0.03, 0.04, 0.05, 1.06),
    "neutral": (0.0, 1.6, 0.0, 4.0, 0.5, 0.03, 0.04, 0.06, 1.0),
    "sadness": (-1.0, 1.2, -2.0, 3.2, -3.5, 0.22, 0.09, 0.16, 0.97),
}
"""Of each emotion, by `VOICE_UNITS`: semitones of pitch and of its range, semitones that it slopes through a
syllable, syllables per second, dB per octave, share of breath, seconds of attack, seconds of pause, formant factor."""
_VOWELS = np.array([
    [730, 1090, 2440, 1.0, 0.0],
    [530, 1840, 2480, 0.65, 0.5],
    [300, 2250, 3000, 0.35, 1.0],
    [500, 900, 2400, 0.65, -0.8],
    [330, 800, 2250, 0.25, -1.0],
])  # fmt: skip
"""Of a, e, i, o, u: three formants in Hz, how far the mouth opens and how wide it is spread."""
_MOUTH_PX = 8.5


@dataclass(frozen=True)
class Syllables:
    """One entry per syllable: when it starts and ends (seconds), its sounds and its stress."""

    starts: np.ndarray
    ends: np.ndarray
    vowels: np.ndarray
    onsets: np.ndarray
    """Consonant: 0 none, 1 fricative, 2 plosive, 3 nasal."""
    stress: np.ndarray

    def envelope(self, times: np.ndarray, attack: float) -> np.ndarray:
        """Loudness 0..1 of each syllable at each time, [num_syllables, num_times]."""
        rise = np.clip((times - self.starts[:, None]) / attack, 0, 1)
        fall = np.clip((self.ends[:, None] - times) / max(attack, 0.04), 0, 1)
        result: np.ndarray = np.sin(np.pi / 2 * rise) * np.sin(np.pi / 2 * fall) * self.stress[:, None]
        return result


@dataclass(frozen=True)
class FaceTracks:
    """What the face does in each video frame."""

    movements: np.ndarray
    """Amounts of `MOVEMENTS`, [num_frames, len(MOVEMENTS)]."""
    mouth: np.ndarray
    lids: np.ndarray
    poses: list[Pose]


@dataclass(frozen=True)
class Tone:
    """How a voice sounds in a clip, by `VOICE_UNITS`."""

    pitch: float
    range: float
    slope: float
    rate: float
    tilt: float
    breath: float
    attack: float
    pause: float
    formants: float


def tone_of(clip: ScriptedClip, generator: np.random.Generator) -> Tone:
    """The clip's mixture of emotional tones, with the scatter from take to take."""
    tone = np.array(clip.voice) @ np.array([_TONES[emotion] for emotion in EMOTIONS])
    tone[:5] += generator.normal(size=5) * (0.8, 0.4, 0.6, 0.25, 0.6)
    return Tone(*tone.tolist())


def speak(num_frames: int, tone: Tone, generator: np.random.Generator) -> Syllables:
    """Syllables that fill a clip of `num_frames` video frames, with pauses between phrases."""
    end = num_frames / FRAME_RATE_HZ - 0.1
    starts, ends = [], []
    now = float(generator.uniform(0.08, 0.25))
    while now < end - 0.12:
        length = float(generator.uniform(0.8, 1.25)) / tone.rate
        starts.append(now)
        ends.append(min(now + 0.85 * length, end))
        now += length + (tone.pause * float(generator.uniform(1, 3)) if generator.random() < 0.3 else 0.0)
    count = len(starts)
    return Syllables(
        starts=np.array(starts),
        ends=np.array(ends),
        vowels=generator.integers(len(_VOWELS), size=count),
        onsets=generator.integers(4, size=count),
        stress=generator.choice([0.65, 0.8, 1.0], size=count),
    )


def vowel_track(syllables: Syllables, times: np.ndarray, column: slice | int) -> np.ndarray:
    """A property of the vowels, gliding from one syllable to the next, at `times`."""
    middles = (syllables.starts + syllables.ends) / 2
    values = _VOWELS[syllables.vowels]
    wanted = range(values.shape[1])[column]
    columns = [wanted] if isinstance(wanted, int) else list(wanted)
    tracks = [np.interp(times, middles, values[:, index]) for index in columns]
    return np.stack(tracks, -1) if len(columns) > 1 else tracks[0]


def act(clip: ScriptedClip, syllables: Syllables, generator: np.random.Generator) -> FaceTracks:
    """The face of a clip: expression, speech, blinks and head motion, frame by frame."""
    num_frames = clip.num_frames
    times = (np.arange(num_frames) + 0.5) / FRAME_RATE_HZ
    loudness = syllables.envelope(times, 0.06).max(0)
    units = _expression(clip, generator)
    swell = np.clip(0.55 + times / generator.uniform(0.5, 1.2), 0, 1) * (0.85 + 0.25 * loudness)
    swell *= 1 + 0.1 * _wander(num_frames, 8, generator)
    resting = np.array([clip.speaker.resting.get(unit, 0.0) for unit in FACE_UNITS])
    tracks = dict(zip(FACE_UNITS, (swell[:, None] * units + resting).T, strict=True))
    tracks["brow_inner"] = tracks["brow_inner"] + 0.4 * _wander(num_frames, 5, generator)
    tracks["brow_outer"] = tracks["brow_outer"] + 0.6 * loudness * generator.uniform(0, 1)
    tracks["corner_out"] = tracks["corner_out"] + 1.8 * vowel_track(syllables, times, 4) * loudness
    tracks["yaw"] = 3.5 * _wander(num_frames, 14, generator) + generator.normal()
    tracks["pitch"] = 2.0 * _wander(num_frames, 10, generator) + 1.5 * loudness
    mouth = tracks["parting"] + _MOUTH_PX * vowel_track(syllables, times, 3) * loudness
    lids = np.maximum(np.clip(tracks["lid"], 0, 1), _blinks(times, generator))
    sway = np.stack([_wander(num_frames, 14, generator) for _ in range(3)], -1) * (3.5, 2.0, 2.2)
    home = generator.normal(size=3) * (5.0, 3.0, 2.0)
    scale = float(generator.uniform(0.92, 1.06))
    poses = [Pose(float(x), float(y), float(roll), scale) for x, y, roll in sway + home]
    movements = np.stack([tracks[name] for name in MOVEMENTS], -1).astype(np.float32)
    return FaceTracks(movements, mouth, lids, poses)


def _expression(clip: ScriptedClip, generator: np.random.Generator) -> np.ndarray:
    """The clip's mixture of emotional expressions, by `FACE_UNITS`, with the scatter from take to take."""
    table = np.array([[_EXPRESSIONS[emotion].get(unit, 0.0) for unit in FACE_UNITS] for emotion in EMOTIONS])
    strength = generator.uniform(0.9, 1.2)
    scatter = generator.normal(size=len(FACE_UNITS)) * 0.12 * np.abs(table).max(0)
    result: np.ndarray = strength * (np.array(clip.face) @ table) + scatter
    return result


def _blinks(times: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Closure of the lids by blinks, every two seconds or so."""
    closure = np.zeros_like(times)
    now = float(generator.uniform(0.2, 2.0))
    while now < times[-1]:
        closure = np.maximum(closure, np.clip(1.3 - np.abs(times - now) / 0.07, 0, 1))
        now += float(generator.uniform(1.2, 3.0))
    return closure


def _wander(length: int, smoothness: float, generator: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance; `smoothness` in steps."""
    noise = gaussian_filter1d(generator.normal(size=length + int(8 * smoothness)), smoothness)
    result: np.ndarray = (noise / noise.std())[int(4 * smoothness) :][:length]
    return result
