"""RAVDESS: 24 actors speak two sentences in 8 emotions; the songs are left out.

The release gives each take as a file with picture and sound (modality 01), as a video without sound (02) and as a
sound file (03). A take is one clip however it is there: its 01 file, or else its 02 and 03 files together. The clip's
id is the name of the video file that is used. Confirmed against the corpus's Zenodo page: names, codes, 60 spoken
takes per actor, licence.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.corpora.base import Corpus
from hicmae_core.data.corpora.listing import Folder, by_key, note_passed_over, stem
from hicmae_core.media.formats import AUDIO, VIDEO

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""Codes 01 to 08."""
_SPEECH = re.compile(r"(0[123])-(01-0[1-8]-0[12]-0[12]-0[12]-(?:0[1-9]|1\d|2[0-4]))")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the spoken takes by their names; see `base.ReadFn`."""
    videos = by_key(folder.files, VIDEO, _speech)
    sounds = by_key(folder.files, AUDIO, _speech)
    note_passed_over(folder, _speech, videos.keys() | sounds.keys())
    takes = {name[3:] for name in videos | sounds}
    rows = []
    for take in sorted(takes, key=lambda take: (take[-2:], take)):
        actor = take[-2:]
        whole, silent, sound = f"01-{take}", f"02-{take}", f"03-{take}"
        if whole in videos:
            clip_id, video, audio = whole, videos[whole], videos[whole]
        else:
            clip_id = silent
            video = videos.get(silent, f"Actor_{actor}/{silent}.mp4")
            audio = sounds.get(sound, f"Actor_{actor}/{sound}.wav")
        rows.append((clip_id, video, audio, actor, EMOTIONS[int(take[3:5]) - 1], (int(actor) - 1) // 4 + 1))
    return pd.DataFrame(rows, columns=["clip_id", "video_path", "audio_path", "subject", "label_name", "test_fold"])


def _speech(path: str) -> str | None:
    match = _SPEECH.fullmatch(stem(path))
    return match[0] if match else None


RAVDESS = Corpus(
    name="ravdess",
    description="RAVDESS, acted speech",
    read=read,
    label_names=EMOTIONS,
)
