"""Prepared clips, side by side, as the model's inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hicmae_core.config import NUM_MEL_BINS, SAMPLE_RATE_HZ, DatasetParams, Modality, ModelParams
from hicmae_core.data.sampling import USUAL_FPS, ClipWindow, FrameStride, random_window, test_windows
from hicmae_core.data.tensors import decode_into, fbank_window, frame_size
from hicmae_core.store.manifest import among
from hicmae_core.store.shards import ClipStore, as_matrix

_NUM_SIZED = 64
"""Clips by which the size of a store's crops is known."""
_STRETCHED = 0.05
"""Audio in a file of its own that is longer or shorter than its video by more than this share is cut or padded to it;
less is placed by proportion, as published."""


class Batch(NamedTuple):
    """Clips side by side.

    In test batches `frames` and `audio` have a second axis: the clip's segments. A stream that is not read (see
    `ClipDataset.modality`) has no frames: T or time is 0.
    """

    clip_ids: list[str]
    frames: Tensor
    """``[B, T, S, S, 3]`` uint8 RGB face crops as stored."""
    audio: Tensor
    """``[B, 1, time, mel]`` float32 normalised log-mel."""
    labels: Tensor | None
    """Rows of `ClipDataset.labels`; None for unlabelled clips."""
    modalities: Sequence[Modality] | None = None
    """What each clip has, where some have one modality, whose frames or log-mel are zeros; None if all have both."""

    def micro_batches(self, number: int) -> list[Batch]:
        """Equally many clips each, in order; `number` must divide the clips."""
        size = len(self.clip_ids) // number
        assert size * number == len(self.clip_ids)
        cuts = [slice(first, first + size) for first in range(0, len(self.clip_ids), size)]
        return [
            Batch(
                self.clip_ids[cut],
                self.frames[cut],
                self.audio[cut],
                None if self.labels is None else self.labels[cut],
                None if self.modalities is None else self.modalities[cut],
            )
            for cut in cuts
        ]


@dataclass(frozen=True)
class ClipDataset:
    """Clips with their labels.

    Attributes:
        faces: Store of face crops; an empty one of voices alone, whose windows are placed as if there were frames at
            the usual rate. The modality is then ``audio``.
        audio: Store of log-mel features.
        clip_ids: The samples, each in `faces`, with its audio in `audio`; of voices, the latter's.
        labels: ``[N]`` or ``[N, targets]``, int64 class ids or float32 values, in the order of `clip_ids`; None if
            unlabelled.
        model: The model's input geometry.
        subjects: Each clip's speaker, None where unknown.
        units: What each clip is scored with (`hicmae_core.store.manifest`); None scores each by itself.
        groups: Each clip's group of speakers, None where unknown.
        modality: What is read. Of a video's audio nothing is, and of the faces behind an audio their number alone,
            which says where its windows lie.

    Raises:
        ValueError: If a clip is missing from a store that is read.
    """

    faces: ClipStore
    audio: ClipStore
    clip_ids: Sequence[str]
    labels: np.ndarray | None
    model: ModelParams
    subjects: Sequence[str | None] | None = None
    units: Sequence[str] | None = None
    modality: Modality = "both"
    groups: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        ids = pd.Series(self.clip_ids, dtype="str")
        if self.has_faces:
            _check_stored(self.faces, ids)
        if self.modality != "video":
            sources = self.faces.index.set_index("clip_id")["source"]
            _check_stored(self.audio, sources.loc[list(self.clip_ids)] if self.has_faces else ids)

    @classmethod
    def from_manifest(
        cls,
        manifest: pd.DataFrame,
        clip_ids: Sequence[str],
        faces: ClipStore,
        audio: ClipStore,
        dataset: DatasetParams,
        model: ModelParams,
        modality: Modality = "both",
    ) -> ClipDataset:
        """The clips `clip_ids` with the labels, subjects and units that a manifest, a row for each, gives them."""
        rows = manifest.set_index("clip_id").loc[list(clip_ids)]
        labels: np.ndarray | None = None
        if dataset.task == "classification":
            labels = rows["label"].to_numpy(dtype=np.int64)
        elif dataset.task != "unlabelled":
            dtype = np.int64 if dataset.task == "multi_classification" else np.float32
            labels = rows[[f"target_{name}" for name in dataset.targets]].to_numpy(dtype=dtype)
        subjects = [None if pd.isna(subject) else str(subject) for subject in rows["subject"]]
        groups = [None if pd.isna(group) else str(group) for group in rows["group"]]
        return cls(faces, audio, list(clip_ids), labels, model, subjects, rows["unit"].tolist(), modality, groups)

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def has_faces(self) -> bool:
        """Whether the clips have faces, read or not, and are not voices alone."""
        return self.modality != "audio" or len(self.faces) > 0

    @cached_property
    def stride(self) -> FrameStride:
        """How far frames lie apart; the usual rate is that of the whole store, so it is the same for all folds."""
        return FrameStride(self.model.frame_stride, self.model.stride_unit, self.faces.usual_fps or USUAL_FPS)

    def training_batch(self, indices: Sequence[int], generators: Sequence[np.random.Generator]) -> Batch:
        """A random window of each clip, drawn by its generator."""
        clips = [self._open(index) for index in indices]
        shape = self.model.num_frames, self.model.frame_stride
        windows = [
            [random_window(*clip.lengths, *shape, draw, self.stride.rate(clip.fps))]
            for clip, draw in zip(clips, generators, strict=True)
        ]
        frames, audio = self._read(clips, windows)
        return self._batch(indices, frames[:, 0], audio[:, 0])

    def test_batch(self, indices: Sequence[int], num_segments: int) -> Batch:
        """All of each clip, as evenly spaced windows."""
        clips = [self._open(index) for index in indices]
        shape = self.model.num_frames, self.model.frame_stride
        windows = [test_windows(*clip.lengths, *shape, num_segments, self.stride.rate(clip.fps)) for clip in clips]
        return self._batch(indices, *self._read(clips, windows))

    def test_item(self, index: int, num_segments: int) -> tuple[Tensor, Tensor]:
        """One clip's frames ``[segments, T, S, S, 3]`` and log-mel ``[segments, time, mel]`` as in `test_batch`."""
        batch = self.test_batch([index], num_segments)
        return batch.frames[0], batch.audio[0, :, 0]

    def _batch(self, indices: Sequence[int], frames: Tensor, audio: Tensor) -> Batch:
        labels = None if self.labels is None else torch.from_numpy(self.labels[list(indices)])
        return Batch([self.clip_ids[index] for index in indices], frames, audio, labels)

    def _open(self, index: int) -> _Clip:
        if not self.has_faces:
            audio = self.audio[self.clip_ids[index]]
            frames = range(max(round(audio["num_samples"] / SAMPLE_RATE_HZ * USUAL_FPS), 1))  # that there could be
            return _Clip({"frames": frames, "fps": USUAL_FPS}, audio, 0, audio["num_samples"])
        faces = self.faces[self.clip_ids[index]]
        if self.modality == "video":
            return _Clip(faces, None, 0, 0)
        audio = self.audio[faces["source"]]
        num_samples = audio["num_samples"]
        runs_samples = round(len(faces["frames"]) / faces["fps"] * SAMPLE_RATE_HZ)
        if faces["clip_id"] != faces["source"]:  # a sample that is a part of its clip
            start = min(round(faces["start_seconds"] * SAMPLE_RATE_HZ), num_samples)
            return _Clip(faces, audio, start, min(start + runs_samples, num_samples))
        is_alike = abs(num_samples - runs_samples) <= _STRETCHED * runs_samples
        return _Clip(faces, audio, 0, num_samples if is_alike else runs_samples)

    def _read(self, clips: Sequence[_Clip], windows: Sequence[Sequence[ClipWindow]]) -> tuple[Tensor, Tensor]:
        """Frames ``[B, segments, T, S, S, 3]`` uint8 and log-mel ``[B, segments, 1, time, mel]`` float32."""
        shape = len(clips), len(windows[0])
        audio = torch.empty(*shape, 1, 0 if self.modality == "video" else self.model.num_audio_frames, NUM_MEL_BINS)
        num_frames = 0 if self.modality == "audio" else self.model.num_frames
        size = self.crop_size if num_frames else self.model.image_size
        frames = np.empty((*shape, num_frames, size, size, 3), np.uint8)  # all clips at once: large, on huge pages
        for row, (clip, segments) in enumerate(zip(clips, windows, strict=True)):
            for column, window in enumerate(segments):
                if clip.audio is not None:
                    fbank, later = as_matrix(clip.audio["fbank"]), window.later(clip.audio_start)
                    audio[row, column, 0] = fbank_window(fbank, later, self.model.num_audio_frames)
                if num_frames:
                    with self._naming(clip):
                        decode_into(frames[row, column], clip.faces["frames"], window.frames)
        return torch.from_numpy(frames), audio

    @cached_property
    def crop_size(self) -> int:
        """The side of the crops of most clips of the store, pixels; those of others are resized to it.

        Clips differ where a corpus ships its own face frames in several sizes. A fixed number of clips, evenly spread,
        are counted, so that a clip is shown alike whichever clips are read with it.
        """
        places = np.linspace(0, len(self.faces) - 1, min(len(self.faces), _NUM_SIZED)).round().astype(int)
        sizes: Counter[int] = Counter()
        for place in places.tolist():
            with suppress(ValueError):  # reading that clip reports it
                sizes[frame_size(self.faces[self.faces.clip_ids[place]]["frames"])] += 1
        return max(sizes, key=lambda size: (sizes[size], size), default=self.model.image_size)

    @contextmanager
    def _naming(self, clip: _Clip) -> Iterator[None]:
        """Say which clip a damaged crop belongs to."""
        try:
            yield
        except ValueError as error:
            raise ValueError(
                f"{self.faces.folder}: clip {clip.faces['clip_id']}: a face crop is damaged ({error}); prepare it again"
            ) from None


class _Clip(NamedTuple):
    """A sample's rows of the stores, and which samples of the audio belong to it; they may end before `audio_end`."""

    faces: dict[str, Any]
    audio: dict[str, Any] | None
    audio_start: int
    audio_end: int

    @property
    def lengths(self) -> tuple[int, int]:
        """Video frames and audio samples."""
        return len(self.faces["frames"]), self.audio_end - self.audio_start

    @property
    def fps(self) -> float:
        """Video frames per second."""
        return float(self.faces["fps"])


def _check_stored(store: ClipStore, clip_ids: pd.Series) -> None:
    missing = clip_ids[~among(clip_ids, store.clip_ids)]
    if len(missing):
        names = ", ".join(missing[:5])
        raise ValueError(f"{store.folder}: {len(missing)} clips are not there ({names} ...); prepare it again")
