"""Clips of several datasets, drawn together: what pre-training reads of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hicmae_core.config import NUM_MEL_BINS
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.data.sampling import FrameStride
from hicmae_core.data.views import shrink


@dataclass(frozen=True)
class JoinedClips:
    """Clips of several datasets, one after the other, without their labels.

    Attributes:
        parts: The datasets, of which one at least has both modalities. Each keeps its usual frame rate; crops are
            resized to the largest usual size among them.
    """

    parts: tuple[ClipDataset, ...]

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def paired(self) -> ClipDataset:
        """The first dataset with both modalities."""
        return next(part for part in self.parts if part.modality == "both")

    @property
    def stride(self) -> FrameStride:
        """That of the first dataset with both modalities, which a model's file notes."""
        return self.paired.stride

    @cached_property
    def kinds(self) -> np.ndarray | None:
        """A number for each clip, ``[N]``, alike where clips have the same modalities; None if all have both."""
        modalities = [part.modality for part in self.parts]
        if set(modalities) == {"both"}:
            return None
        numbers = {modality: number for number, modality in enumerate(dict.fromkeys(modalities))}
        return np.concatenate([np.full(len(part), numbers[part.modality]) for part in self.parts])

    def training_batch(self, indices: Sequence[int], generators: Sequence[np.random.Generator]) -> Batch:
        """As `ClipDataset.training_batch`, without labels; what a clip lacks are zeros."""
        owners = np.searchsorted(self._ends, indices, side="right")
        starts = np.concatenate([[0], self._ends])
        model, size = self.paired.model, self._crop_size
        frames = torch.zeros(len(indices), model.num_frames, size, size, 3, dtype=torch.uint8)
        audio = torch.zeros(len(indices), 1, model.num_audio_frames, NUM_MEL_BINS)
        ids = [""] * len(indices)
        for number in np.unique(owners).tolist():
            own = np.flatnonzero(owners == number).tolist()
            part = self.parts[number]
            batch = part.training_batch(
                [indices[place] - int(starts[number]) for place in own], [generators[place] for place in own]
            )
            if part.modality != "audio":
                frames[own] = shrink(batch.frames, size)
            if part.modality != "video":
                audio[own] = batch.audio
            for place, clip_id in zip(own, batch.clip_ids, strict=True):
                ids[place] = clip_id
        modalities = None if self.kinds is None else [self.parts[owner].modality for owner in owners.tolist()]
        return Batch(ids, frames, audio, None, modalities)

    def weights(self, by_dataset: Sequence[float]) -> np.ndarray | None:
        """How often to draw each clip, ``[N]``, so that datasets are drawn in these proportions; None of none."""
        if not by_dataset:
            return None
        shares = [np.full(len(part), weight / len(part)) for part, weight in zip(self.parts, by_dataset, strict=True)]
        return np.concatenate(shares)

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(part) for part in self.parts])

    @cached_property
    def _crop_size(self) -> int:
        return max(part.crop_size for part in self.parts if part.modality != "audio")


Clips = ClipDataset | JoinedClips
"""What a training draws from."""
