"""RAVDESS: 24 actors speak two sentences in 8 emotions; the songs are left out.

The release gives each take as a file with video and audio (modality 01), as a video without audio (02) and as an audio
file (03). A take is one clip however it is there: its 01 file, or else its 02 and 03 files together. The clip's id is
the name of the video file that is used. Actors with odd numbers are male.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, find_media, note_passed_over, stem
from hicmae_core.corpora.published import avf_mae, hicmae, mae_dfer, per_fold_and_class, recalls, svfap, wavlm
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


_COUNTS = per_fold_and_class({name: (16 if name == "neutral" else 32,) * 6 for name in EMOTIONS})

RAVDESS = Corpus(
    name="ravdess",
    description="RAVDESS, acted speech",
    read=read,
    label_names=EMOTIONS,
    about=About(
        title="RAVDESS, Ryerson Audio-Visual Database of Emotional Speech and Song (Livingstone & Russo, PLoS ONE "
        "2018)",
        download="Video_Speech_Actor_01.zip to Video_Speech_Actor_24.zip (01 and 02 files); "
        "Audio_Speech_Actors_01-24.zip (03 files) only if you keep 02 files instead of 01 files",
        source="https://zenodo.org/record/1188976",
        licence="CC BY-NC-SA 4.0",
        layout=(
            "`Actor_05/01-01-03-02-01-02-05.mp4`",
            "or `Actor_05/02-01-03-02-01-02-05.mp4` with `Actor_05/03-01-03-02-01-02-05.wav`",
            "or OpenFace's aligned crops of either: `face_aligned/01-01-03-02-01-02-05/frame_det_00_000001.bmp`",
            "`ravdess_drawn`: the same names, of videos that show drawings of the faces, such as lines between tracked "
            "landmarks, with the corpus's voices. There is no download; whoever has the corpus needs none",
        ),
        folds="6 by actor: 01-04, 05-08, 09-12, 13-16, 17-20, 21-24; 1,440 clips, 240 each. Songs are left out",
        metrics="UAR, WAR",
        confirmed="names, codes, number of takes, licence (Zenodo page)",
        unconfirmed="nothing",
    ),
    datasets={
        "ravdess": ReadyMade(
            DatasetParams(corpus="ravdess", classes=EMOTIONS, num_folds=6),
            _COUNTS,
            results=(
                hicmae(recalls(87.96, 87.99)),
                hicmae({"war": 72.29}, "audio"),
                avf_mae("H", 87.44, 87.57),
                mae_dfer(75.91, 75.56),
                svfap(recalls(75.15, 75.01)),
                wavlm(75.28, 75.36),
            ),
        ),
        "ravdess_drawn": ReadyMade(
            DatasetParams(corpus="ravdess", classes=EMOTIONS, num_folds=6, faces="drawn"), _COUNTS
        ),
    },
)
