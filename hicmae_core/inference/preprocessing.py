"""From a file to what a model needs of it: faces and audio. The part of the work that other processes can do."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hicmae_core.config import NUM_MEL_BINS, SAMPLE_RATE_HZ, FacePolicy, FacesParams, Modality
from hicmae_core.data.sampling import USUAL_FPS
from hicmae_core.media.decoding import MAX_SECONDS, MediaError, probe, read_audio
from hicmae_core.media.detection import Detector, make_detector
from hicmae_core.media.faces import FaceTrack, extract_faces, flag_damage
from hicmae_core.media.packets import Damage
from hicmae_core.media.waveform import log_mel
from hicmae_core.preparation.pool import ClipFailure, ClipFiles, ClipProcesses, in_processes

_FACELESS = ("no_face", "short_face", "no_video")
"""Statuses of files whose audio may still be used."""


@dataclass(frozen=True)
class FaceSample:
    """A face of a video, and the audio meanwhile; or why there is none.

    Attributes:
        track: The face; without crops if it could not be had, or if the model reads no video. The reason says which
            modality is missing, if the model is asked without it.
        log_mel: float32 ``[frames, 128]`` of the whole file, shared by its faces; empty if the model does not listen.
        sound_start: First 16 kHz sample that belongs to the face.
        num_samples: 16 kHz samples that belong to the face.
        num_frames: Video frames of it, also where the model reads no video, for they say where windows lie.
        fps: Frames per second.
    """

    track: FaceTrack
    log_mel: np.ndarray = field(default_factory=lambda: np.zeros((0, NUM_MEL_BINS), np.float32), repr=False)
    sound_start: int = 0
    num_samples: int = 0
    num_frames: int = 0
    fps: float = 0.0

    @property
    def used(self) -> Modality:
        """What a model that reads both is shown of it; the rest is zeros, as in evaluation."""
        if not len(self.track.frames):
            return "audio"
        return "both" if len(self.log_mel) else "video"

    @property
    def usable(self) -> bool:
        """Whether a model can be asked about it."""
        return self.num_frames > 0


@dataclass(frozen=True)
class Preprocessor:
    """How files are read: faces and audio.

    Attributes:
        faces: Detector, crop geometry and size.
        modality: What the model reads; the other is left alone.
        needs_both: Whether a file without audio, or without a face, is refused where the model reads both; else the
            model is asked about the modality that is there.
        policy: Which faces are taken, as in `hicmae_core.media.faces.extract_faces`.
        device: Where the face detector runs, if it can choose.
        fps_without_video: Frames per second that are counted in a file without video.
        max_seconds: Longer files are refused.
    """

    faces: FacesParams
    modality: Modality = "both"
    needs_both: bool = True
    policy: FacePolicy = "single"
    device: str = "cpu"
    fps_without_video: float = USUAL_FPS
    max_seconds: float = MAX_SECONDS

    def preprocess(self, path: Path) -> list[FaceSample]:
        """The faces of a file, in order of time; a single one without crops says why there is none."""
        damage = Damage("audio")
        voice, silence = None, ""
        try:
            if self.modality != "video":
                voice = self._listen(path, damage)
            if self.modality == "audio":
                assert voice is not None
                return [self._audio_only(path, voice, damage)]
        except MediaError as error:
            if error.status != "no_sound" or self.modality == "audio" or self.needs_both:
                return [FaceSample(FaceTrack(error.status, str(error)))]
            silence = f"{error}; predicted from the face alone"
        tracks = extract_faces(path, self.faces, self.policy, detector_for(self.faces, self.device), self.max_seconds)
        if voice is not None and not self.needs_both and tracks[0].status in _FACELESS:
            return [self._audio_only(path, voice, damage, f"{tracks[0].reason}; predicted from the voice alone")]
        return [
            self._seen(flag_damage(_noted(track, silence), path, damage), voice) if track.usable else FaceSample(track)
            for track in tracks
        ]

    def _listen(self, path: Path, damage: Damage) -> _Voice:
        samples = read_audio(path, self.max_seconds, damage)
        features = log_mel(samples)
        if not len(features):
            raise MediaError(path, "no_sound", f"has {len(samples)} samples of audio, less than one 25 ms window")
        return _Voice(len(samples), features)

    def _audio_only(self, path: Path, voice: _Voice, damage: Damage, why: str = "") -> FaceSample:
        """The audio of a file that has no usable face."""
        fps = fps_behind(path, self.fps_without_video)
        num_frames = max(1, round(voice.num_samples / SAMPLE_RATE_HZ * fps))
        track = flag_damage(FaceTrack("ok", why), path, damage)
        return FaceSample(track, voice.log_mel, 0, voice.num_samples, num_frames, fps)

    def _seen(self, track: FaceTrack, voice: _Voice | None) -> FaceSample:
        num_samples = round(len(track.frames) / track.fps * SAMPLE_RATE_HZ)
        if voice is None:
            return FaceSample(track, num_samples=num_samples, num_frames=len(track.frames), fps=track.fps)
        start, end = 0, voice.num_samples
        if self.policy == "all":  # the face is a part of its file
            start = min(round(track.start_seconds * SAMPLE_RATE_HZ), end)
            end = min(start + num_samples, end)
        return FaceSample(track, voice.log_mel, start, end - start, len(track.frames), track.fps)


class _Voice(NamedTuple):
    num_samples: int
    log_mel: np.ndarray


def _noted(track: FaceTrack, why: str) -> FaceTrack:
    return replace(track, reason="; ".join(filter(None, [track.reason, why]))) if why else track


def fps_behind(path: Path, without_video: float) -> float:
    """Frames per second that are counted of a file of which only the audio is read, as in evaluation: the video's.

    Args:
        path: The file.
        without_video: The rate if there is no video in it.

    Raises:
        MediaError: If it cannot be opened.
    """
    return probe(path).fps or without_video


def preprocess_all(paths: Sequence[Path], preprocessor: Preprocessor, num_processes: int) -> Iterator[list[FaceSample]]:
    """What `preprocessor` sees of each file, in order.

    Args:
        paths: The files.
        preprocessor: How they are read.
        num_processes: Processes that work ahead, so that a file that crashes a decoder costs itself alone; 0 works
            here, file by file.
    """
    if num_processes == 0:
        yield from map(preprocessor.preprocess, paths)
        return
    files = [_as_clip(path) for path in paths]
    for path, result in zip(paths, in_processes(num_processes)(partial(_pickled, preprocessor), files), strict=True):
        yield _samples_of(path, result)


@contextmanager
def preprocessing_process(preprocessor: Preprocessor) -> Iterator[Callable[[Path], list[FaceSample]]]:
    """A process that preprocesses one file after the other, and is started again when one has crashed it."""
    processes = ClipProcesses(partial(_pickled, preprocessor), 1, math.inf)
    try:
        yield lambda path: _samples_of(path, *processes.run([_as_clip(path)]))
    finally:
        processes.stop()


def _as_clip(path: Path) -> ClipFiles:
    return ClipFiles(str(path), path, path, "")


def _samples_of(path: Path, result: bytes | ClipFailure) -> list[FaceSample]:
    if isinstance(result, ClipFailure):
        return [FaceSample(FaceTrack(result.status, f"{path}: {result.reason}"))]
    face_samples: list[FaceSample] = pickle.loads(result)  # from a process of our own
    return face_samples


def _pickled(preprocessor: Preprocessor, clip: ClipFiles) -> bytes:
    return pickle.dumps(preprocessor.preprocess(clip.video))


@cache
def detector_for(faces: FacesParams, device: str) -> Detector:
    """The detector that the configuration names, made once in a process."""
    return make_detector(faces, device)
