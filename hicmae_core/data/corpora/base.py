"""What a corpus adapter is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.corpora.listing import Folder

ReadFn = Callable[[Folder, DatasetParams], pd.DataFrame]
"""Lists a corpus: a row per clip with ``clip_id``; ``video_path`` and ``audio_path`` relative to the folder, the same
where one file holds both, and where a file should be if it is not there; ``subject``, null where unknown;
``label_name``; ``test_fold``, the 1-based fold in which the clip is tested, null for never; a ``target_<name>`` for
each of the dataset's targets; where clips are not scored one by one, their ``unit``, null for the clip itself; where
it is known, the speaker's ``group``, such as the sex; where the video is a folder of face frames, ``clip_path``, the
video file they were taken from, and ``fps``, each null where unknown; and, for clips that are known to be unusable,
``status`` and ``reason``. It opens no media file, raises a ValueError if the folder does not hold what it reads, and
says in `Folder.notes` what was not used."""


@dataclass(frozen=True)
class Corpus:
    """Reads a raw folder's names and labels.

    Attributes:
        name: The adapter's name in params.yaml.
        description: A few words on what it reads.
        read: See `ReadFn`.
        label_names: Every class that the corpus has. Clips of those which a dataset does not use are left out of its
            manifest; a label that is not among them is a mistake.
        labellings: What ``dataset.<name>.labels`` may be, the default first, where the corpus has several.
    """

    name: str
    description: str
    read: ReadFn
    label_names: tuple[str, ...] = ()
    labellings: tuple[str, ...] = ()

    def check_labelling(self, labels: str) -> None:
        """Raise a ValueError if the corpus has no labelling of that name; the empty name is the default."""
        if labels and labels not in self.labellings:
            known = f"there are: {', '.join(self.labellings)}" if self.labellings else "leave `labels` out"
            raise ValueError(f"corpus {self.name} has no labels `{labels}`; {known}")
