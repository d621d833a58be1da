"""VoxCeleb2: 1,092,009 clips of 5,994 speakers, unlabelled, for pre-training.

The development part is read. A clip's id is ``speaker/video/clip``, as in the corpus's own lists, because clips are
numbered anew in every video. Where there is an m4a or wav of the same id, it is used.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, by_key, note_passed_over
from hicmae_core.corpora.published import in_all
from hicmae_core.files import VIDEO

_CLIP = re.compile(r"(?:^|/)(id\d{5}/[^/]+/\d+)\.\w+$")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips of the development part; see `base.ReadFn`."""
    files = [path for path in folder.files if not path.startswith("test/") and "/test/" not in path]
    videos = by_key(files, VIDEO, _clip_of)
    sounds = by_key(files, (".m4a", ".wav"), _clip_of)
    note_passed_over(folder, _clip_of, videos.keys() | sounds.keys())
    clip_ids = list(videos)
    return pd.DataFrame(
        {
            "clip_id": clip_ids,
            "video_path": list(videos.values()),
            "audio_path": [sounds.get(clip_id, video) for clip_id, video in videos.items()],
            "subject": [clip_id[:7] for clip_id in clip_ids],
            "label_name": None,
            "test_fold": pd.array([None] * len(clip_ids), dtype="Int64"),
        }
    )


def _clip_of(path: str) -> str | None:
    match = _CLIP.search(path)
    return match[1] if match else None


VOXCELEB2 = Corpus(
    name="voxceleb2",
    description="VoxCeleb2, unlabelled interviews",
    read=read,
    about=About(
        title="VoxCeleb2 (Chung, Nagrani, Zisserman, Interspeech 2018)",
        download="vox2_dev_mp4 (about 270 GB in parts: `cat vox2_dev_mp4* > vox2_mp4.zip`); vox2_dev_aac if your "
        "videos have no audio",
        source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html (request for access)",
        licence="CC BY 4.0 for the metadata; the videos stay their owners'",
        layout=(
            "`dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`",
            "`dev/aac/id00012/21Uxsk56VDQ/00001.m4a` (if there, the audio)",
        ),
        folds="none; 1,092,009 clips of 5,994 speakers. Whatever lies in a folder `test` is left out",
        metrics="none: it serves pre-training",
        confirmed="counts, archives, names (public descriptions)",
        unconfirmed="whether the videos hold audio; the licence's wording. A part of the corpus is reported, not "
        "refused",
    ),
    datasets={
        "voxceleb2": ReadyMade(
            DatasetParams(corpus="voxceleb2", task="unlabelled"), in_all(1_092_009, confirmed=False)
        ),
    },
)
