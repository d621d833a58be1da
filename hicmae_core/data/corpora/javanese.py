"""Javanese: 10 actors speak four Javanese sentences in 6 emotions, face and voice; one clip of each.

Small and open: 240 clips, 25 MB, one `git clone`. Confirmed against the files: names, counts, that every clip has a
picture and sound. What the codes mean is told by the companion repository of sounds, whose sentences and emotions are
the same.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.corpora.base import Corpus
from hicmae_core.data.corpora.listing import Folder, find_media, note_passed_over, stem

EMOTIONS = ("neutral", "sadness", "happiness", "surprise", "fear", "anger")
"""Codes 01 to 06."""
SOURCE = "https://github.com/2black0/video-emotion-recognition-javanese"
_CLIP = re.compile(r"(0[1-9]|10)-(0[1-4])-(0[1-6])_\d\d")
_NO_CLIPS = "output"
"""The repository's folder of what its program wrote."""


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips by their names; see `base.ReadFn`."""
    media = find_media(folder, dataset.video, _clip)
    if not media.videos:
        if media.sounds:
            raise ValueError(
                f"{folder.root}: {len(media.sounds)} sounds, no video: this is the companion corpus of sounds alone; "
                f"the videos are in the folder dataset-resize of {SOURCE}"
            )
        raise ValueError(
            f"{folder.root}: no file is named as a clip, such as dataset-resize/01-04-06_01.mp4; give the clone of "
            f"{SOURCE} or its folder dataset-resize"
        )
    note_passed_over(folder, _clip, media.clips | media.sounds | media.frames)
    rows = []
    for clip_id in sorted(media.videos):
        actor, _, emotion = clip_id.split("_")[0].split("-")
        paths = media.of(clip_id, f"dataset-resize/{clip_id}.mp4", f"face_aligned/{clip_id}")
        label = EMOTIONS[int(emotion) - 1]
        rows.append(
            {"clip_id": clip_id, **paths, "subject": actor, "label_name": label, "test_fold": int(actor)},
        )
    return pd.DataFrame(rows)


def _clip(path: str) -> str | None:
    match = _CLIP.fullmatch(stem(path))
    return match[0] if match and _NO_CLIPS not in path.split("/")[:-1] else None


JAVANESE = Corpus(
    name="javanese",
    description="Javanese acted speech, small and open",
    read=read,
    label_names=EMOTIONS,
)
