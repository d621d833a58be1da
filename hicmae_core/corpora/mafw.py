"""MAFW: film and television clips in 11 single or 43 single and compound classes; speakers are unknown.

Confirmed: names and compound labels such as ``anger_disgust_anxiety`` (the corpus's README); the lists, their format,
and 9,172 clips in the single-label ones, of which 16 have no sound and 9,156 remain (a public description of the
release, which agrees with the published counts); counts per class, and those of the compound lists per fold.
Unconfirmed: the compound lists' folder, the id order of the 43 classes (here the 11 single ones first, then by name)
and their 32 compound names, which come from a public benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus, read_splits
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.tables import look_up, read_lines

SINGLE = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
    "contempt",
    "anxiety",
    "helplessness",
    "disappointment",
)
COMPOUND = (
    "anger_anxiety",
    "anger_disgust",
    "anger_disgust_anxiety",
    "anger_disgust_contempt",
    "anger_helplessness",
    "anger_sadness",
    "anger_surprise",
    "anxiety_helplessness",
    "anxiety_helplessness_disappointment",
    "disgust_anxiety",
    "disgust_anxiety_helplessness",
    "disgust_contempt",
    "disgust_disappointment",
    "disgust_helplessness",
    "disgust_helplessness_disappointment",
    "disgust_sadness",
    "disgust_surprise",
    "fear_anxiety",
    "fear_sadness",
    "fear_sadness_anxiety",
    "fear_surprise",
    "fear_surprise_anxiety",
    "happiness_contempt",
    "happiness_surprise",
    "helplessness_disappointment",
    "sadness_anxiety",
    "sadness_anxiety_helplessness",
    "sadness_disappointment",
    "sadness_helplessness",
    "sadness_helplessness_disappointment",
    "sadness_surprise",
    "surprise_anxiety",
)
_LINE = re.compile(r"(\S+)\.mp4\s+(\S+)")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips of the official lists; see `base.ReadFn`."""
    kind = dataset.labels or "single"
    rows = read_splits(folder, dataset, lambda part, fold: f"{kind}/no_caption/set_{fold}/{part}.txt", _read_list)
    listed = set(rows["clip_id"])

    def clip_of(path: str) -> str | None:
        return stem(path) if stem(path) in listed else None

    media = find_media(folder, dataset.video, clip_of, audio_first=False, frames_in=("frames",))
    paths = [media.of(clip, f"data/clips/{clip}.mp4", f"data/frames/{clip}") for clip in rows["clip_id"]]
    return rows.join(pd.DataFrame(paths)).assign(subject=None)


def _read_list(path: Path) -> Iterator[tuple[int, str, str]]:
    names = {name: name for name in SINGLE + COMPOUND}
    for line, match in read_lines(path, _LINE, "00025.mp4 anger"):
        yield line, match[1], look_up(names, match[2], path, line)


MAFW = Corpus(
    name="mafw",
    description="MAFW, clips in the wild",
    read=read,
    label_names=SINGLE + COMPOUND,
    labellings=("single", "compound"),
)
