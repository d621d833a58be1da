"""Werewolf-XL: players of 30 games, with the arousal, valence and dominance that raters saw.

The names of the clips and their folds are as published. Unconfirmed, because no public page shows it: how the corpus
writes its annotations, so they are expected as a ``labels.csv``; the order of the targets; and whether a player's
number means one person in all games (129 people played), so the speaker is a player of one game.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.corpora.base import Corpus
from hicmae_core.data.corpora.listing import Folder, by_key
from hicmae_core.data.corpora.tables import read_columns
from hicmae_core.media.formats import AUDIO, VIDEO

TARGETS = ("arousal", "valence", "dominance")
_CLIP = re.compile(r"(0[1-9]|[12]\d|30)_\d\d_\d+")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips of labels.csv; see `base.ReadFn`."""
    path = folder.find_needed("labels.csv", "write it with the columns clip_id, arousal, valence, dominance")
    table = read_columns(path, "clip_id", *dataset.targets)
    for line, clip_id in table["clip_id"].items():
        if not _CLIP.fullmatch(clip_id):
            raise ValueError(f"{path}, line {line}: a clip is named such as 01_01_128, not {clip_id!r}")
    videos = by_key(folder.files, VIDEO)
    sounds = by_key(folder.files, AUDIO[:1])
    rows = pd.DataFrame({"clip_id": table["clip_id"].reset_index(drop=True)})
    rows["video_path"] = [videos.get(clip_id, f"{clip_id}.mp4") for clip_id in rows["clip_id"]]
    pairs = zip(rows["clip_id"], rows["video_path"], strict=True)
    rows["audio_path"] = [sounds.get(clip_id, video) for clip_id, video in pairs]
    rows["subject"], rows["label_name"] = rows["clip_id"].str[:5], None
    rows["test_fold"] = (rows["clip_id"].str[:2].astype(int) - 1) // 6 + 1
    for name in dataset.targets:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.isna().any():
            line = numbers.index[numbers.isna()][0]
            raise ValueError(f"{path}, line {line}: {name} {table[name][line]!r} is not a number")
        rows[f"target_{name}"] = numbers.to_numpy()
    return rows


WEREWOLF_XL = Corpus(
    name="werewolf_xl",
    description="Werewolf-XL, spontaneous group interaction",
    read=read,
)
