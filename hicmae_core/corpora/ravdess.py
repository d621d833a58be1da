"""RAVDESS: 24 actors speak two sentences in 8 emotions; the songs are left out.

The release gives each take as a file with picture and sound (modality 01), as a video without sound (02) and as a
sound file (03). A take is one clip however it is there: its 01 file, or else its 02 and 03 files together. The clip's
id is the name of the video file that is used. Confirmed against the corpus's Zenodo page: names, codes, 60 spoken
takes per actor, odd numbers for male actors, licence.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus
from hicmae_core.corpora.listing import Folder, find_media, note_passed_over, stem
from hicmae_core.files import AUDIO

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""Codes 01 to 08."""
_SPEECH = re.compile(r"(0[123])-(01-0[1-8]-0[12]-0[12]-0[12]-(?:0[1-9]|1\d|2[0-4]))")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the spoken takes by their names; see `base.ReadFn`."""
    media = find_media(folder, dataset.video, _speech, sounds=AUDIO)
    named = media.clips | media.sounds | media.frames
    note_passed_over(folder, _speech, named)
    takes = {name[3:] for name in named}
    rows = []
    for take in sorted(takes, key=lambda take: (take[-2:], take)):
        actor = take[-2:]
        whole, silent, sound = f"01-{take}", f"02-{take}", f"03-{take}"
        clip_id, other = (whole, silent) if whole in media.videos else (silent, whole)
        paths = media.of(clip_id, f"Actor_{actor}/{clip_id}.mp4", f"face_aligned/{clip_id}")
        paths["clip_path"] = media.clips.get(clip_id) or media.clips.get(other)
        heard = [media.clips.get(whole), *map(media.sounds.get, (sound, whole, silent))]
        paths["audio_path"] = next(filter(None, heard), f"Actor_{actor}/{sound}.wav")
        label, fold = EMOTIONS[int(take[3:5]) - 1], (int(actor) - 1) // 4 + 1
        speaker = {"subject": actor, "group": "male" if int(actor) % 2 else "female"}
        rows.append({"clip_id": clip_id, **paths, **speaker, "label_name": label, "test_fold": fold})
    return pd.DataFrame(rows)


def _speech(path: str) -> str | None:
    match = _SPEECH.fullmatch(stem(path))
    return match[0] if match else None


RAVDESS = Corpus(
    name="ravdess",
    description="RAVDESS, acted speech",
    read=read,
    label_names=EMOTIONS,
)
