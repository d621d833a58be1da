"""Werewolf-XL: players of 30 games, with the arousal, valence and dominance that raters saw.

No public page shows how the corpus writes its annotations, so they are expected as a ``labels.csv``, nor whether a
player's number means one person in all games, so the speaker is a player of one game.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.published import baseline, hicmae, per_fold, svfap
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


def _affect(pcc: tuple[float, float, float], ccc: tuple[float, float, float]) -> dict[str, float]:
    """Published coefficients, in the order in which papers print them."""
    values = {f"pcc_{target}": value for target, value in zip(TARGETS, pcc, strict=True)}
    return values | {f"ccc_{target}": value for target, value in zip(TARGETS, ccc, strict=True)}


WEREWOLF_XL = Corpus(
    name="werewolf_xl",
    description="Werewolf-XL, spontaneous group interaction",
    read=read,
    about=About(
        title="Werewolf-XL (Zhang et al., IEEE TAC 2021)",
        download="the speakers' clips and their annotations, written as labels.csv",
        source="the authors, Zhejiang University (signed agreement)",
        licence="academic research only",
        layout=(
            "`labels.csv` with the columns `clip_id,arousal,valence,dominance`",
            "`01_01_128.mp4` (game, player, clip)",
            "or OpenFace's aligned crops: `face_aligned/01_01_128/frame_det_00_000001.bmp`",
        ),
        folds="5 by game: 01-06, 07-12, 13-18, 19-24, 25-30; 14,457 clips of 14,632",
        metrics="PCC, CCC per target",
        confirmed="14,632 clips of active speakers, 129 people in 30 games (a public description)",
        unconfirmed="the corpus's own label files, the order of the targets, who plays in several games, the licence, "
        "which 175 clips the published protocol leaves out",
    ),
    datasets={
        "werewolf_xl": ReadyMade(
            DatasetParams(corpus="werewolf_xl", task="regression", targets=TARGETS, num_folds=5),
            per_fold(3346, 2747, 3066, 3527, 1771, slack=175),
            results=(
                hicmae(_affect(pcc=(33.74, 69.23, 40.66), ccc=(31.85, 64.81, 37.54))),
                svfap(_affect(pcc=(23.51, 67.11, 34.61), ccc=(18.96, 64.27, 29.69))),
                baseline(
                    2021,
                    _affect(pcc=(16.41, 63.14, 35.40), ccc=(27.70, 62.34, 38.40)),
                    "Zhang et al., Werewolf-XL, IEEE TAC 2021",
                ),
            ),
        ),
    },
)
