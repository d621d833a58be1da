"""Clips of several datasets, drawn together: what pre-training reads of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.data.sampling import FrameStride
from hicmae_core.data.views import shrink


@dataclass(frozen=True)
class JoinedClips:
    """Clips of several datasets, one after the other, without their labels.

    Attributes:
        parts: The datasets. Each keeps its usual frame rate; crops are resized to the largest usual size among them.
    """

    parts: tuple[ClipDataset, ...]

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def stride(self) -> FrameStride:
        """That of the first dataset, which a model's file notes."""
        return self.parts[0].stride

    def training_batch(self, indices: Sequence[int], generators: Sequence[np.random.Generator]) -> Batch:
        """As `ClipDataset.training_batch`, without labels."""
        owners = np.searchsorted(self._ends, indices, side="right")
        starts = np.concatenate([[0], self._ends])
        batches, places = [], []
        for number in np.unique(owners).tolist():
            own = np.flatnonzero(owners == number).tolist()
            part = self.parts[number]
            batch = part.training_batch(
                [indices[place] - int(starts[number]) for place in own], [generators[place] for place in own]
            )
            batches.append(batch._replace(frames=shrink(batch.frames, self._crop_size)))
            places += own
        order = np.argsort(places).tolist()
        ids = [clip_id for batch in batches for clip_id in batch.clip_ids]
        frames, audio = (torch.cat([batch[field] for batch in batches])[order] for field in (1, 2))
        return Batch([ids[place] for place in order], frames, audio, None)

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
        return max(part.crop_size for part in self.parts)


Clips = ClipDataset | JoinedClips
"""What a training draws from."""
