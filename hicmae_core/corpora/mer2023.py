"""MER2023, track MER-MULTI: Chinese video clips in 6 classes with one test set; speakers are unknown.

Both label files have the columns ``name``, ``discrete`` and ``valence``; the classes' order is the challenge's own.
"""

from __future__ import annotations

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, by_key
from hicmae_core.corpora.published import hicmae, in_all, per_fold
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
    about=About(
        title="MER 2023, track MER-MULTI (Lian et al., ACM Multimedia 2023)",
        download="train, test1 and their label files",
        source="https://huggingface.co/datasets/MERChallenge/MER2023 (signed agreement)",
        licence="academic research only",
        layout=("`train-label.csv`", "`train/sample_00000001.mp4`", "`test1-label.csv`", "`test1/sample_00000002.mp4`"),
        folds="1: train against test1, which is the MER-MULTI test set. No speakers are known",
        metrics="weighted F1",
        confirmed="label files, folders and classes (the challenge's own tools)",
        unconfirmed="3,373 training and 411 test clips (reported, not enforced); how the clips are numbered",
    ),
    datasets={
        "mer2023": ReadyMade(
            DatasetParams(corpus="mer2023", classes=CLASSES, num_folds=1),
            per_fold(411, confirmed=False) + in_all(3784, confirmed=False),
            results=(hicmae({"weighted_f1": 71.33}),),
            also_called=("mer_multi",),
        ),
    },
)
