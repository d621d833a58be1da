"""From a file to what a model needs of it: faces and sound. The part of the work that other processes can do."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from hicmae_core.config import NUM_MEL_BINS, SAMPLE_RATE_HZ, FacePolicy, FacesParams, Modality
from hicmae_core.data.pool import ClipFailure, ClipFiles, ClipProcesses, in_processes
from hicmae_core.data.sampling import USUAL_FPS
from hicmae_core.media.decoding import MAX_SECONDS, MediaError, probe, read_audio
from hicmae_core.media.detection import Detector, make_detector
from hicmae_core.media.faces import FaceTrack, extract_faces, flag_damage
from hicmae_core.media.fbank import log_mel
from hicmae_core.media.packets import Damage


@dataclass(frozen=True)
class Sight:
    """A face of a video, and what is heard meanwhile; or why there is none.

    Attributes:
        track: The face; without crops if it could not be had, or if the model does not look.
        log_mel: float32 ``[frames, 128]`` of the whole file, shared by its faces; empty if the model does not listen.
        sound_start: First 16 kHz sample that belongs to the face.
        num_samples: 16 kHz samples that belong to the face.
        num_frames: Video frames of it, also where the model does not look, for they say where windows lie.
        fps: Frames per second.
    """

    track: FaceTrack
    log_mel: np.ndarray = field(default_factory=lambda: np.zeros((0, NUM_MEL_BINS), np.float32), repr=False)
    sound_start: int = 0
    num_samples: int = 0
    num_frames: int = 0
    fps: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether a model can be asked about it."""
        return self.num_frames > 0


@dataclass(frozen=True)
class Looker:
    """How files are looked at and listened to.

    Attributes:
        faces: Detector, crop geometry and size.
        modality: What the model reads; the other is left alone.
        policy: Which faces are taken, as in `hicmae_core.media.faces.extract_faces`.
        device: Where the face detector runs, if it can choose.
        fps_without_video: Frames per second that are counted in a file without video.
        max_seconds: Longer files are refused.
    """

    faces: FacesParams
    modality: Modality = "both"
    policy: FacePolicy = "single"
    device: str = "cpu"
    fps_without_video: float = USUAL_FPS
    max_seconds: float = MAX_SECONDS

    def look(self, path: Path) -> list[Sight]:
        """The faces of a file, in order of time; a single one without crops says why there is none."""
        samples: np.ndarray | None = None
        fps = 0.0
        features = np.zeros((0, NUM_MEL_BINS), np.float32)
        damage = Damage("audio")
        try:
            if self.modality != "video":
                samples = read_audio(path, self.max_seconds, damage)
                features = log_mel(samples)
                if not len(features):
                    raise MediaError(
                        path, "no_sound", f"has {len(samples)} samples of sound, less than one 25 ms window"
                    )
            if self.modality == "audio":
                fps = fps_behind(path, self.fps_without_video)
        except MediaError as error:
            return [Sight(FaceTrack(error.status, str(error)))]
        if self.modality == "audio":
            assert samples is not None, "an audio model listens"
            num_frames = max(1, round(len(samples) / SAMPLE_RATE_HZ * fps))
            return [Sight(flag_damage(FaceTrack("ok"), path, damage), features, 0, len(samples), num_frames, fps)]
        tracks = extract_faces(path, self.faces, self.policy, detector_for(self.faces, self.device), self.max_seconds)
        return [
            self._sight(flag_damage(track, path, damage) if track.usable else track, features, samples)
            for track in tracks
        ]

    def _sight(self, track: FaceTrack, features: np.ndarray, samples: np.ndarray | None) -> Sight:
        if not track.usable:
            return Sight(track)
        start, end = 0, round(len(track.frames) / track.fps * SAMPLE_RATE_HZ)
        if samples is not None:
            end = len(samples)
            if self.policy == "all":  # the face is a part of its file
                start = min(round(track.start_seconds * SAMPLE_RATE_HZ), end)
                end = min(start + round(len(track.frames) / track.fps * SAMPLE_RATE_HZ), end)
        return Sight(track, features, start, end - start, len(track.frames), track.fps)


def fps_behind(path: Path, without_video: float) -> float:
    """Frames per second that are counted of a file of which only the sound is read, as in evaluation: the video's.

    Args:
        path: The file.
        without_video: The rate if there is no video in it.

    Raises:
        MediaError: If it cannot be opened.
    """
    return probe(path).fps or without_video


def look_at_all(paths: Sequence[Path], looker: Looker, num_processes: int) -> Iterator[list[Sight]]:
    """What `looker` sees of each file, in order.

    Args:
        paths: The files.
        looker: How they are looked at.
        num_processes: Processes that work ahead, so that a file that crashes a decoder costs itself alone; 0 works
            here, file by file.
    """
    if num_processes == 0:
        yield from map(looker.look, paths)
        return
    files = [_as_clip(path) for path in paths]
    for path, result in zip(paths, in_processes(num_processes)(partial(_pickled, looker), files), strict=True):
        yield _sights(path, result)


@contextmanager
def looking_process(looker: Looker) -> Iterator[Callable[[Path], list[Sight]]]:
    """A process that looks at one file after the other, and is started again when one has crashed it."""
    processes = ClipProcesses(partial(_pickled, looker), 1, math.inf)
    try:
        yield lambda path: _sights(path, *processes.run([_as_clip(path)]))
    finally:
        processes.stop()


def _as_clip(path: Path) -> ClipFiles:
    return ClipFiles(str(path), path, path, "")


def _sights(path: Path, result: bytes | ClipFailure) -> list[Sight]:
    if isinstance(result, ClipFailure):
        return [Sight(FaceTrack(result.status, f"{path}: {result.reason}"))]
    sights: list[Sight] = pickle.loads(result)  # from a process of our own
    return sights


def _pickled(looker: Looker, clip: ClipFiles) -> bytes:
    return pickle.dumps(looker.look(clip.video))


@cache
def detector_for(faces: FacesParams, device: str) -> Detector:
    """The detector that the configuration names, made once in a process."""
    return make_detector(faces, device)
