"""MAFW: video and television clips in 11 single or 43 single and compound classes; speakers are unknown.

Unconfirmed: the 32 compound names, which come from a public benchmark; here they follow the single ones, by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade, read_splits
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.published import (
    Count,
    avf_mae,
    hicmae,
    in_the_wild,
    mae_dfer,
    per_class,
    per_fold,
    recalls,
    svfap,
    wavlm,
)
from hicmae_core.corpora.tables import look_up, read_lines

SINGLE = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness",
    "disappointment",
)  # fmt: skip
COMPOUND = (
    "anger_anxiety", "anger_disgust", "anger_disgust_anxiety", "anger_disgust_contempt", "anger_helplessness",
    "anger_sadness", "anger_surprise", "anxiety_helplessness", "anxiety_helplessness_disappointment",
    "disgust_anxiety", "disgust_anxiety_helplessness", "disgust_contempt", "disgust_disappointment",
    "disgust_helplessness", "disgust_helplessness_disappointment", "disgust_sadness", "disgust_surprise",
    "fear_anxiety", "fear_sadness", "fear_sadness_anxiety", "fear_surprise", "fear_surprise_anxiety",
    "happiness_contempt", "happiness_surprise", "helplessness_disappointment", "sadness_anxiety",
    "sadness_anxiety_helplessness", "sadness_disappointment", "sadness_helplessness",
    "sadness_helplessness_disappointment", "sadness_surprise", "surprise_anxiety",
)  # fmt: skip
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


_COUNTS: dict[str, Count] = {
    "anger": (1388, 1390), "disgust": 639, "fear": 625, "happiness": (1236, 1242), "neutral": (1136, 1138),
    "sadness": (1466, 1470), "surprise": (1070, 1072), "contempt": 236, "anxiety": 916, "helplessness": 262,
    "disappointment": 182,
}  # fmt: skip
"""Without and with the 16 clips that have no audio, which some lists leave out."""

MAFW = Corpus(
    name="mafw",
    description="MAFW, clips in the wild",
    read=read,
    label_names=SINGLE + COMPOUND,
    labellings=("single", "compound"),
    about=About(
        title="MAFW (Liu et al., ACM Multimedia 2022)",
        download="the clips, the corpus's own face frames and `Train & Test Set`",
        source="https://mafw-database.github.io/MAFW (signed agreement, university address)",
        licence="non-commercial research only",
        layout=(
            "`data/frames/00025/1.jpg`, the face frames",
            "`data/clips/00025.mp4`, whose audio is used; without it `audio_16k/00025.wav`",
            "`Train & Test Set/single/no_caption/set_1/train.txt` and `test.txt`, with lines `00025.mp4 anger`",
            "`Train & Test Set/compound/no_caption/set_1/train.txt` and `test.txt` (43 classes)",
        ),
        folds="5 official ones. 9,172 clips are listed with a single label; 9,156 are left without those that have no "
        "sound, which `--probe` rejects. No speakers are known",
        metrics="UAR, WAR",
        confirmed="names and label words (the corpus's README); lists, formats and counts per fold and class (a "
        "description of the release); counts per fold of the compound lists",
        unconfirmed="the folder of the compound lists, the order of the 43 classes",
    ),
    datasets={
        "mafw": ReadyMade(
            DatasetParams(corpus="mafw", classes=SINGLE, num_folds=5, labels="single"),
            per_fold((1836, 1839), (1833, 1837), (1827, 1833), (1829, 1832), 1831) + per_class(_COUNTS),
            results=(
                hicmae(
                    recalls(42.65, 56.17),
                    folds={"uar": (36.02, 41.57, 46.46, 47.50, 41.88), "war": (47.60, 55.10, 60.10, 63.09, 55.22)},
                ),
                hicmae(recalls(42.10, 54.84), "video"),
                hicmae({"war": 54.79}, note="ablation: none of the three hierarchical modules"),
                hicmae({"war": 55.62}, note="ablation: contrastive weight 0"),
                hicmae({"war": 47.87}, note="ablation: contrastive weight 0.1"),
                avf_mae("B", 43.10, 57.50),
                avf_mae("L", 45.36, 59.13),
                avf_mae("H", 46.05, 60.24, war_by_fold=(50.98, 55.92, 65.24, 66.65, 62.42)),
                *in_the_wild(mma=(44.11, 58.52), s4d=58.44, mira=(48.22, 61.45), claip=61.18, humanomni=(52.94, 68.40)),
                mae_dfer(41.62, 54.31),
                svfap(recalls(41.19, 54.28)),
                wavlm(26.33, 34.07),
            ),
            also_called=("mafw_11",),
        ),
        "mafw_43": ReadyMade(
            DatasetParams(corpus="mafw", classes=SINGLE + COMPOUND, num_folds=5, labels="compound"),
            per_fold(1818, 1809, 1798, 1788, 1783),
        ),
    },
)
