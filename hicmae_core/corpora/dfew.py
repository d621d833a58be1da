"""DFEW: film clips in 7 classes; speakers are unknown.

Confirmed: labels 1 to 7 (the corpus's README), the folders, and the columns of the lists (public readers of them). The
clip's id is its number in the lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus, read_splits
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.tables import look_up, read_columns

CLASSES = ("happy", "sad", "neutral", "anger", "surprise", "disgust", "fear")
"""Labels 1 to 7."""
FRAMES_IN = ("clip_224x224", "jpg_224", "jpg_256")
"""Folders of the corpus's own face frames, ``Clip/clip_224x224/00001``."""


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips of the official lists; see `base.ReadFn`."""
    rows = read_splits(folder, dataset, lambda part, fold: f"{part}(single-labeled)/set_{fold}.csv", _read_list)
    media = find_media(folder, dataset.video, _number, audio_first=False, clips_in="original/", frames_in=FRAMES_IN)
    paths = [media.of(clip, f"Clip/original/{clip}.mp4", f"Clip/{FRAMES_IN[0]}/{clip:>05}") for clip in rows["clip_id"]]
    return rows.join(pd.DataFrame(paths)).assign(subject=None)


def _number(path: str) -> str | None:
    """The clip of a file or folder; those of 16 frames each, which are drawn from all of them, are left out."""
    name = stem(path)
    return str(int(name)) if name.isdecimal() and "_16f/" not in path else None


def _read_list(path: Path) -> Iterator[tuple[int, str, str]]:
    labels = {str(label): name for label, name in enumerate(CLASSES, start=1)}
    for line, order, label in read_columns(path, "order", "label").itertuples():
        if not order.isdecimal():
            raise ValueError(f"{path}, line {line}: the order {order!r} is not a number")
        yield line, str(int(order)), look_up(labels, label, path, line)


DFEW = Corpus(
    name="dfew",
    description="DFEW, clips in the wild",
    read=read,
    label_names=CLASSES,
)
