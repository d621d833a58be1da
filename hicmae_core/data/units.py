"""The unit of evaluation: what one label was given to, and what is scored as one.

A unit is a clip, or all clips that a corpus cut out of one recording, such as those of a participant's task in AVCAFFE.
Clips are trained on and predicted; the predictions of a unit's clips are averaged before anything is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class Units:
    """The units of a table of clips, in the order of their first clips.

    Attributes:
        of_clip: Each clip's unit, by its number from 0, ``[num_clips]``.
        first: The place of each unit's first clip, ``[num_units]``.

    Args:
        names: Each clip's unit.
    """

    def __init__(self, names: Sequence[object]) -> None:
        self.of_clip: NDArray[np.int64] = pd.factorize(np.asarray(list(names), dtype="object"))[0].astype(np.int64)
        self.first: NDArray[np.int64] = np.unique(self.of_clip, return_index=True)[1].astype(np.int64)

    @property
    def are_clips(self) -> bool:
        """Whether each clip is a unit of its own."""
        return len(self.first) == len(self.of_clip)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means over each unit's clips: ``[num_clips, ...]`` to ``[num_units, ...]``; of clips, the values as given."""
        if self.are_clips:
            return values
        sums = np.zeros((len(self.first), *values.shape[1:]))
        np.add.at(sums, self.of_clip, values)
        counts = np.bincount(self.of_clip).astype(np.float64)
        return sums / counts.reshape(-1, *(1,) * (values.ndim - 1))
