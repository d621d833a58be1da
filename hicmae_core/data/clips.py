"""Prepared clips as the model's inputs: single clips, and batches of them in a reproducible order."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hicmae_core.config import NUM_MEL_BINS, DatasetParams, ModelParams
from hicmae_core.data.sampling import ClipWindow, random_window, test_windows
from hicmae_core.data.shards import ClipStore, as_matrix

FBANK_MEAN = -4.2677393
FBANK_SCALE = 2 * 4.5689974
"""A log-mel value x enters the model as (x - FBANK_MEAN) / FBANK_SCALE."""

_HOP = 160  # samples from one log-mel frame to the next
_WINDOW = 400  # samples that a log-mel frame covers


class Batch(NamedTuple):
    """Clips side by side.

    In test batches `frames` and `audio` have a second axis: the clip's segments.
    """

    clip_ids: list[str]
    frames: Tensor
    """``[B, T, S, S, 3]`` uint8 RGB face crops as stored."""
    audio: Tensor
    """``[B, 1, time, mel]`` float32 normalised log-mel."""
    labels: Tensor | None
    """``[B]`` int64 class ids, or ``[B, targets]`` float32; None for unlabelled clips."""


@dataclass(frozen=True)
class ClipDataset:
    """Clips with their labels.

    Attributes:
        faces: Store of face crops.
        audio: Store of log-mel features.
        clip_ids: The clips, each in both stores.
        labels: ``[N]`` int64 or ``[N, targets]`` float32, in the order of `clip_ids`; None if unlabelled.
        model: The model's input geometry.
        subjects: Each clip's speaker, None where unknown.

    Raises:
        ValueError: If a clip is missing from a store.
    """

    faces: ClipStore
    audio: ClipStore
    clip_ids: Sequence[str]
    labels: np.ndarray | None
    model: ModelParams
    subjects: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        for store in (self.faces, self.audio):
            missing = [clip_id for clip_id in self.clip_ids if clip_id not in store]
            if missing:
                names = ", ".join(missing[:5])
                raise ValueError(f"{store.folder}: {len(missing)} clips are not there ({names} ...); prepare it again")

    @classmethod
    def from_manifest(
        cls,
        manifest: pd.DataFrame,
        clip_ids: Sequence[str],
        faces: ClipStore,
        audio: ClipStore,
        dataset: DatasetParams,
        model: ModelParams,
    ) -> ClipDataset:
        """The clips `clip_ids` with the labels and subjects that a manifest gives them."""
        rows = manifest.set_index("clip_id").loc[list(clip_ids)]
        labels: np.ndarray | None = None
        if dataset.task == "classification":
            labels = rows["label"].to_numpy(dtype=np.int64)
        elif dataset.task == "regression":
            labels = rows[[f"target_{name}" for name in dataset.targets]].to_numpy(dtype=np.float32)
        subjects = [None if pd.isna(subject) else str(subject) for subject in rows["subject"]]
        return cls(faces, audio, list(clip_ids), labels, model, subjects)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def training_item(self, index: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A random window of a clip: frames ``[T, S, S, 3]`` uint8 and log-mel ``[time, mel]`` float32."""
        faces, audio = self._rows(index)
        model = self.model
        sizes = len(faces["frames"]), audio["num_samples"], model.num_frames, model.frame_stride
        return self._read(faces, audio, random_window(*sizes, generator))

    def test_item(self, index: int, num_segments: int) -> tuple[Tensor, Tensor]:
        """All of a clip: frames ``[segments, T, S, S, 3]`` uint8 and log-mel ``[segments, time, mel]`` float32."""
        faces, audio = self._rows(index)
        model = self.model
        sizes = len(faces["frames"]), audio["num_samples"], model.num_frames, model.frame_stride
        pairs = [self._read(faces, audio, window) for window in test_windows(*sizes, num_segments)]
        return torch.stack([frames for frames, _ in pairs]), torch.stack([fbank for _, fbank in pairs])

    def label(self, index: int) -> Any:
        """A clip's row of `labels`, None if unlabelled."""
        return None if self.labels is None else self.labels[index]

    def _rows(self, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
        clip_id = self.clip_ids[index]
        return self.faces[clip_id], self.audio[clip_id]

    def _read(self, faces: dict[str, Any], audio: dict[str, Any], window: ClipWindow) -> tuple[Tensor, Tensor]:
        try:
            frames = decode_frames(faces["frames"], window.frames)
        except OSError as error:
            raise ValueError(
                f"{self.faces.folder}: clip {faces['clip_id']}: a face crop is damaged ({error}); prepare it again"
            ) from None
        return frames, fbank_window(as_matrix(audio["fbank"]), window, self.model.num_audio_frames)


def decode_frames(jpegs: pa.Array, indices: np.ndarray) -> Tensor:
    """The JPEGs at `indices` as ``[len(indices), height, width, 3]`` uint8 RGB; repeats are decoded once.

    Raises:
        OSError: If one is damaged.
    """
    wanted, places = np.unique(indices, return_inverse=True)
    images = [np.asarray(Image.open(io.BytesIO(jpegs[int(i)].as_buffer()), formats=("JPEG",))) for i in wanted]
    return torch.from_numpy(np.stack([images[place] for place in places]))


def fbank_window(fbank: np.ndarray, window: ClipWindow, num_audio_frames: int) -> Tensor:
    """The log-mel frames that lie inside a window, padded with zeros or cut, then normalised.

    Args:
        fbank: ``[frames, 128]`` un-normalised log-mel of the whole clip; frame k covers the samples
            ``[160 k, 160 k + 400)``.
        window: Its audio samples are snapped to that grid.
        num_audio_frames: Frames wanted.

    Returns:
        ``[num_audio_frames, 128]`` float32.
    """
    first = -(-window.audio_start // _HOP)
    end = min((window.audio_end - _WINDOW) // _HOP + 1, first + num_audio_frames, len(fbank))
    rows = torch.zeros(num_audio_frames, NUM_MEL_BINS)
    if end > first:
        rows[: end - first] = torch.from_numpy(fbank[first:end].astype(np.float32))
    return (rows - FBANK_MEAN) / FBANK_SCALE


def num_batches(num_clips: int, batch_size: int, drop_last: bool) -> int:
    """Batches of an epoch.

    Raises:
        ValueError: If there are too few clips for a single batch.
    """
    number = num_clips // batch_size if drop_last else -(-num_clips // batch_size)
    if number == 0:
        raise ValueError(f"batch_size {batch_size} is more than the {num_clips} training clips; lower it")
    return number


def training_batches(
    dataset: ClipDataset,
    batch_size: int,
    seed: int,
    epoch: int,
    num_workers: int,
    drop_last: bool,
    rank: int = 0,
    world_size: int = 1,
    start_batch: int = 0,
) -> Iterator[Batch]:
    """An epoch of random windows in random order.

    What is drawn depends on `seed`, `epoch` and the clip alone: not on the number of workers, nor on
    where in the epoch reading starts.

    Args:
        dataset: The clips.
        batch_size: Clips of a batch over all processes, a multiple of `world_size`.
        seed: Seed of the run.
        epoch: Epoch, from 0.
        num_workers: Processes that decode; 0 decodes in this one.
        drop_last: Leave out the last, smaller batch; needed where several processes share batches.
        rank: This process among `world_size`, which each get a contiguous share of every batch.
        world_size: Processes that train together.
        start_batch: First batch wanted, to go on in the midst of an epoch.

    Raises:
        ValueError: If `batch_size` does not fit the processes or the clips.
    """
    if batch_size % world_size or (world_size > 1 and not drop_last):
        raise ValueError(f"batch_size {batch_size} must be a multiple of the {world_size} processes, and drop_last set")
    order = np.random.default_rng([seed, epoch, 0]).permutation(len(dataset))
    share = batch_size // world_size
    starts = range(start_batch * batch_size, num_batches(len(dataset), batch_size, drop_last) * batch_size, batch_size)
    batches = [order[start : start + batch_size][rank * share : (rank + 1) * share].tolist() for start in starts]
    return _load(_TrainingItems(dataset, seed, epoch), batches, num_workers)


def test_batches(dataset: ClipDataset, batch_size: int, num_segments: int, num_workers: int) -> Iterator[Batch]:
    """All clips in order, each as `num_segments` windows; the same to the bit every time."""
    indices = range(len(dataset))
    batches = [list(indices[start : start + batch_size]) for start in indices[::batch_size]]
    return _load(_TestItems(dataset, num_segments), batches, num_workers)


Item = tuple[str, Tensor, Tensor, Any]
"""A clip's id, frames, log-mel and label."""


@dataclass(frozen=True)
class _TrainingItems(Dataset[Item]):
    dataset: ClipDataset
    seed: int
    epoch: int

    def __getitem__(self, index: int) -> Item:
        generator = np.random.default_rng([self.seed, self.epoch, index + 1])
        return self.dataset.clip_ids[index], *self.dataset.training_item(index, generator), self.dataset.label(index)


@dataclass(frozen=True)
class _TestItems(Dataset[Item]):
    dataset: ClipDataset
    num_segments: int

    def __getitem__(self, index: int) -> Item:
        items = self.dataset.test_item(index, self.num_segments)
        return self.dataset.clip_ids[index], *items, self.dataset.label(index)


def _load(items: Dataset[Item], batches: list[list[int]], num_workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        items,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # unused, but without it the loader would advance the global one
    )
    return iter(loader)


def _collate(items: list[Item]) -> Batch:
    clip_ids, frames, audio, labels = zip(*items, strict=True)
    return Batch(
        clip_ids=list(clip_ids),
        frames=torch.stack(frames),
        audio=torch.stack(audio).unsqueeze(-3),
        labels=None if labels[0] is None else torch.from_numpy(np.stack(labels)),
    )
