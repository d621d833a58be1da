"""MER2023, track MER-MULTI: Chinese film clips in 6 classes with one test set; speakers are unknown.

Confirmed against the challenge's own tools: ``train-label.csv`` and ``test1-label.csv`` with the columns ``name``,
``discrete`` and ``valence``, folders ``train`` and ``test1``, and the six words in their id order. Unconfirmed: the
counts, 3,373 for training and 411 for test.
"""

from __future__ import annotations

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus
from hicmae_core.corpora.listing import Folder, by_key
from hicmae_core.corpora.tables import look_up, read_columns
from hicmae_core.files import VIDEO

CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
_FOLD_OF_PART = {"train": None, "test1": 1}


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips of both label files; see `base.ReadFn`."""
    names = {name: name for name in CLASSES}
    rows = []
    for part, fold in _FOLD_OF_PART.items():
        path = folder.find_needed(f"{part}-label.csv", "it holds the labels and comes with the corpus")
        videos = by_key((video for video in folder.files if part in video.split("/")[:-1]), VIDEO)
        for line, clip_id, label in read_columns(path, "name", "discrete").itertuples():
            video = videos.get(clip_id, f"{part}/{clip_id}.mp4")
            rows.append((clip_id, video, video, None, look_up(names, label, path, int(line)), fold))
    table = pd.DataFrame(rows, columns=["clip_id", "video_path", "audio_path", "subject", "label_name", "test_fold"])
    return table.astype({"test_fold": "Int64"})


MER2023 = Corpus(
    name="mer2023",
    description="MER2023, track MER-MULTI",
    read=read,
    label_names=CLASSES,
)
