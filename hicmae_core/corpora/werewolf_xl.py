"""Werewolf-XL: players of 30 games, with the arousal, valence and dominance that raters saw.

The names of the clips and their folds are as published. Unconfirmed, because no public page shows it: how the corpus
writes its annotations, so they are expected as a ``labels.csv``; the order of the targets; and whether a player's
number means one person in all games (129 people played), so the speaker is a player of one game.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.tables import read_columns

TARGETS = ("arousal", "valence", "dominance")
_CLIP = re.compile(r"(0[1-9]|[12]\d|30)_\d\d_\d+")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips of labels.csv; see `base.ReadFn`."""
    path = folder.find_needed("labels.csv", "write it with the columns clip_id, arousal, valence, dominance")
    table = read_columns(path, "clip_id", *dataset.targets)
    for line, clip_id in table["clip_id"].items():
        if not _CLIP.fullmatch(clip_id):
            raise ValueError(f"{path}, line {line}: a clip is named such as 01_01_128, not {clip_id!r}")
    media = find_media(folder, dataset.video, _clip_of)
    rows = pd.DataFrame(
        [{"clip_id": clip, **media.of(clip, f"{clip}.mp4", f"face_aligned/{clip}")} for clip in table["clip_id"]]
    )
    rows["subject"], rows["label_name"] = rows["clip_id"].str[:5], None
    rows["test_fold"] = (rows["clip_id"].str[:2].astype(int) - 1) // 6 + 1
    for name in dataset.targets:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.isna().any():
            line = numbers.index[numbers.isna()][0]
            raise ValueError(f"{path}, line {line}: {name} {table[name][line]!r} is not a number")
        rows[f"target_{name}"] = numbers.to_numpy()
    return rows


def _clip_of(path: str) -> str | None:
    return stem(path) if _CLIP.fullmatch(stem(path)) else None


WEREWOLF_XL = Corpus(
    name="werewolf_xl",
    description="Werewolf-XL, spontaneous group interaction",
    read=read,
)
