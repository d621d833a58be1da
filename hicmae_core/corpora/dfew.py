"""DFEW: video clips in 7 classes; speakers are unknown. A clip's id is its number in the lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade, read_splits
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.published import (
    SECOND_HAND,
    avf_mae,
    hicmae,
    in_the_wild,
    mae_dfer,
    per_class,
    per_fold,
    per_fold_and_class,
    recalls,
    svfap,
    wavlm,
)
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


_COUNTS = dict(zip(CLASSES, (2445, 1894, 2669, 2173, 1469, 145, 902), strict=True))
_COUNTS_OF_FOLD_1 = dict(zip(CLASSES, (489, 379, 534, 435, 294, 29, 181), strict=True))

DFEW = Corpus(
    name="dfew",
    description="DFEW, clips in the wild",
    read=read,
    label_names=CLASSES,
    about=About(
        title="DFEW (Jiang et al., ACM Multimedia 2020)",
        download="the face frames, the original clips, whose audio is used, and EmoLabel_DataSplit",
        source="https://dfew-dataset.github.io (signed agreement)",
        licence="non-commercial research only",
        layout=(
            "`Clip/clip_224x224/00001/00001_00001.jpg`, or `Clip/jpg_224/00001/1.jpg`, or `Clip/jpg_256/00001/1.jpg`, "
            "the face frames (folders of 16 frames a clip, `clip_224x224_16f`, are passed over)",
            "`Clip/original/1.mp4`; without it `audio_16k/00001.wav`",
            "`EmoLabel_DataSplit/train(single-labeled)/set_1.csv`, with the columns `order,label`",
            "`EmoLabel_DataSplit/test(single-labeled)/set_1.csv`, likewise",
        ),
        folds="5 official ones; 11,697 clips with a single label. No speakers are known",
        metrics="UAR, WAR",
        confirmed="labels (the corpus's README), folders (public readers), counts per fold and class (its lists)",
        unconfirmed="counts per class of folds 2 to 5, so they are not compared",
    ),
    datasets={
        "dfew": ReadyMade(
            DatasetParams(corpus="dfew", classes=CLASSES, num_folds=5),
            per_fold(2341, 2341, 2340, 2339, 2336)
            + per_class(_COUNTS)
            + per_fold_and_class({name: (count,) for name, count in _COUNTS_OF_FOLD_1.items()}),
            results=(
                hicmae(recalls(63.76, 75.01)),
                hicmae(recalls(61.92, 73.10), "video"),
                hicmae(recalls(61.37, 72.20), "video", SECOND_HAND, size="S"),
                hicmae(recalls(59.14, 71.24), "video", SECOND_HAND, size="T"),
                avf_mae("B", 63.74, 75.42),
                avf_mae("L", 65.14, 76.24),
                avf_mae("H", 66.88, 77.45),
                *in_the_wild(mma=(67.01, 77.51), s4d=76.68, mira=(68.25, 78.24), claip=80.14, humanomni=(74.86, 82.46)),
                mae_dfer(63.41, 74.43),
                svfap(recalls(62.83, 74.27)),
                wavlm(37.78, 44.64),
            ),
        ),
    },
)
