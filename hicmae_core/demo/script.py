"""Who speaks and what is filmed: speakers and clips, drawn from a seed.

The four emotions are told half by the face and half by the voice. A face shows well whether a feeling is
pleasant (anger and sadness against happiness and neutral), a voice how aroused it is (anger and
happiness against neutral and sadness). Beyond that each channel tells the two emotions of a pair apart
only as far as the clip's `face_clarity` and `voice_clarity` go, and these are often small.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hicmae_core.config import CorpusParams

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
FACE_TWIN = {"anger": "sadness", "sadness": "anger", "happiness": "neutral", "neutral": "happiness"}
"""The emotion that an unclear face is taken for."""
VOICE_TWIN = {"anger": "happiness", "happiness": "anger", "neutral": "sadness", "sadness": "neutral"}
"""The emotion that an unclear voice is taken for."""
NUM_FOLDS = 4

Flaw = Literal["none", "no_face", "no_sound", "truncated", "second_person", "zero_byte"]
FLAWS: tuple[Flaw, ...] = ("no_face", "no_sound", "truncated", "second_person", "zero_byte")
"""What is wrong with the broken clips, in the order in which small corpora get them."""

SKIN_TONES = ((1.04, 1.02, 1.03), (1.0, 1.0, 1.0), (0.94, 0.86, 0.78), (0.8, 0.67, 0.57), (0.62, 0.48, 0.4),
              (0.48, 0.36, 0.3))  # fmt: skip
HAIR_COLOURS = ((0.28, 0.26, 0.26), (0.55, 0.4, 0.28), (0.95, 0.78, 0.5), (0.85, 0.45, 0.25), (0.85, 0.85, 0.88),
                (0.4, 0.3, 0.24))  # fmt: skip
SHAPE_SPREAD = {
    "face_width": 0.07, "jaw_width": 0.12, "face_length": 0.05, "chin": 4.0, "eye_spacing": 1.8, "eye_size": 0.14,
    "nose_width": 0.22, "nose_length": 2.0, "mouth_width": 0.12, "lip_thickness": 0.3, "brow_height": 1.4,
    "hair_volume": 0.1,
}  # fmt: skip
"""Standard deviations of a speaker's facial geometry; scales as fractions, shifts in pixels."""


@dataclass(frozen=True)
class Speaker:
    """A face and a voice."""

    name: str
    shape: dict[str, float]
    """Geometry, by the names of `SHAPE_SPREAD`."""
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    suit: tuple[float, float, float]
    brow_thickness: float
    stubble: float
    glasses: bool
    resting: dict[str, float]
    """Offsets of the resting face, by the names of `performance.FACE_UNITS`."""
    pitch_hz: float
    tract: float
    """Factor of the formant frequencies: above 1 for a short vocal tract."""
    tilt_db: float
    """Spectral tilt, dB per octave, on top of the emotion's."""
    breath: float
    """Share of breath noise in voiced audio."""


@dataclass(frozen=True)
class ScriptedClip:
    """One clip to be filmed."""

    clip_id: str
    file: str
    """Path under the corpus folder."""
    speaker: Speaker
    face: tuple[float, ...]
    """Share of each of `EMOTIONS` in the face."""
    voice: tuple[float, ...]
    """Share of each of `EMOTIONS` in the voice."""
    num_frames: int
    seed: tuple[int, int]
    emotion: str | None = None
    flaw: Flaw = "none"
    companion: Speaker | None = None
    """The second person in the image, if there is one."""

    @property
    def generator(self) -> np.random.Generator:
        """A fresh generator that depends on the corpus seed and the clip's name alone."""
        return np.random.default_rng(self.seed)


def write_script(params: CorpusParams, frame_rate: int) -> tuple[list[ScriptedClip], list[ScriptedClip]]:
    """Cast the speakers and list the labelled and the unlabelled clips.

    Args:
        params: Seed, counts and lengths.
        frame_rate: Frames per second.

    Returns:
        The labelled clips, the broken ones last, and the unlabelled clips.
    """
    speakers = [_cast(f"SP{index + 1:02d}", index, params.seed) for index in range(params.num_speakers)]
    extras = [_cast(f"US{index + 1:03d}", index, params.seed) for index in range(params.num_unlabelled_speakers)]
    labelled = [
        _clip(f"{speaker.name}_{emotion}_{take + 1:02d}", "labelled", speaker, params, frame_rate, emotion)
        for speaker in speakers
        for emotion in EMOTIONS
        for take in range(params.num_takes)
    ]
    broken = [
        _clip(clip_id, "labelled", speaker, params, frame_rate, emotion, flaw, extras[0])
        for clip_id, speaker, emotion, flaw in _broken(speakers, num_broken(len(labelled)))
    ]
    unlabelled = [
        _clip(f"U{index + 1:04d}", "unlabelled", extras[index % len(extras)], params, frame_rate)
        for index in range(params.num_unlabelled_clips)
    ]
    return labelled + broken, unlabelled


def num_broken(num_labelled: int) -> int:
    """Broken clips beside `num_labelled` audio ones: about one in 24, at least one, at most one per flaw."""
    return min(max(num_labelled // 24, 1), len(FLAWS))


def fold_of(speaker_index: int) -> int:
    """Test fold, 1-based; speakers are dealt round-robin."""
    return speaker_index % NUM_FOLDS + 1


def _broken(speakers: list[Speaker], count: int) -> Iterator[tuple[str, Speaker, str, Flaw]]:
    for index, flaw in enumerate(FLAWS[:count]):
        speaker, emotion = speakers[index % len(speakers)], EMOTIONS[index % len(EMOTIONS)]
        yield f"{speaker.name}_{emotion}_broken_{flaw}", speaker, emotion, flaw


def _cast(name: str, index: int, seed: int) -> Speaker:
    generator = np.random.default_rng((seed, zlib.crc32(name.encode())))
    deep = bool((index + seed) % 2)
    colours = generator.uniform(0.15, 0.95, 3)
    resting = {"brow_inner": 0.5, "brow_outer": 0.6, "corner_up": 0.5, "eye_wide": 0.04, "lip_press": 0.3}
    return Speaker(
        name=name,
        shape={part: float(np.clip(generator.normal(), -1.8, 1.8) * spread) for part, spread in SHAPE_SPREAD.items()},
        skin=SKIN_TONES[int(generator.integers(len(SKIN_TONES)))],
        hair=HAIR_COLOURS[int(generator.integers(len(HAIR_COLOURS)))],
        suit=(float(colours[0]), float(colours[1]), float(colours[2])),
        brow_thickness=float(generator.uniform(1.6, 3.0) + (0.5 if deep else 0.0)),
        stubble=float(generator.uniform(0.1, 0.35)) if deep and generator.random() < 0.6 else 0.0,
        glasses=bool(generator.random() < 0.2),
        resting={unit: float(generator.normal() * spread) for unit, spread in resting.items()},
        pitch_hz=float(generator.uniform(95, 140) if deep else generator.uniform(170, 235)),
        tract=float(generator.uniform(0.88, 1.0) if deep else generator.uniform(1.04, 1.18)),
        tilt_db=float(generator.normal() * 1.0),
        breath=float(generator.uniform(0.02, 0.08)),
    )


def _clip(
    clip_id: str,
    folder: str,
    speaker: Speaker,
    params: CorpusParams,
    frame_rate: int,
    emotion: str | None = None,
    flaw: Flaw = "none",
    companion: Speaker | None = None,
) -> ScriptedClip:
    clip_seed = (params.seed, zlib.crc32(clip_id.encode()))
    generator = np.random.default_rng((*clip_seed, 1))
    if emotion is None:
        face = voice = generator.dirichlet([0.5] * len(EMOTIONS))
    else:
        face = _shares(emotion, FACE_TWIN[emotion], generator)
        voice = _shares(emotion, VOICE_TWIN[emotion], generator)
    seconds = generator.uniform(params.min_seconds, params.max_seconds)
    return ScriptedClip(
        clip_id=clip_id,
        file=f"{folder}/{clip_id}.mp4",
        speaker=speaker,
        face=tuple(face.tolist()),
        voice=tuple(voice.tolist()),
        num_frames=round(seconds * frame_rate),
        seed=clip_seed,
        emotion=emotion,
        flaw=flaw,
        companion=companion if flaw == "second_person" else None,
    )


def _shares(emotion: str, twin: str, generator: np.random.Generator) -> np.ndarray:
    """Shares of the emotions where `emotion` is shown with a random clarity and otherwise passes for its twin."""
    clarity = generator.beta(0.5, 0.8)
    shares = np.zeros(len(EMOTIONS))
    shares[EMOTIONS.index(emotion)] = (1 + clarity) / 2
    shares[EMOTIONS.index(twin)] = (1 - clarity) / 2
    return shares
