"""Javanese: 10 actors speak four Javanese sentences in 6 emotions, face and voice; one clip of each.

The codes are those of the companion corpus of audio alone, which has seven takes of the same actors, sentences and
emotions under the same names.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, find_media, note_passed_over, stem
from hicmae_core.corpora.published import per_fold_and_class
from hicmae_core.files import AUDIO

EMOTIONS = ("neutral", "sadness", "happiness", "surprise", "fear", "anger")
"""Codes 01 to 06."""
SOURCE = "https://github.com/2black0/video-emotion-recognition-javanese"
COMMIT = "70503133"
"""Other commits have the clips in archives, too."""
_FOLDER = "dataset-resize"
_CLIP = re.compile(r"(0[1-9]|10)-(0[1-4])-(0[1-6])[-_]\d\d")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips by their names; see `base.ReadFn`."""
    clips_in = f"{_FOLDER}/" if any(path.split("/")[-1] == _FOLDER for path in folder.folders) else ""
    # No audio files: one beside a clip is the companion's, of which nobody says that it is the same recording.
    media = find_media(folder, dataset.video, _clip, sounds=(), clips_in=clips_in)
    if not media.videos:
        raise ValueError(_nothing_found(folder))
    note_passed_over(folder, _clip, media.clips | media.frames)
    rows = []
    for clip_id in sorted(media.videos):
        actor, emotion = clip_id[:2], int(clip_id[6:8])
        paths = media.of(clip_id, f"{_FOLDER}/{clip_id}.mp4", f"face_aligned/{clip_id}")
        labels = {"subject": actor, "label_name": EMOTIONS[emotion - 1], "test_fold": int(actor)}
        rows.append({"clip_id": clip_id, **paths, **labels})
    return pd.DataFrame(rows)


def _clip(path: str) -> str | None:
    match = _CLIP.fullmatch(stem(path))
    return match[0] if match else None


def _nothing_found(folder: Folder) -> str:
    """Why there is no clip, and where they are."""
    audio = [path for path in folder.files if path.lower().endswith(AUDIO)]
    what = f"no video is named as a clip, such as {_FOLDER}/01-04-06_01.mp4"
    if audio:
        what = f"{len(audio)} audio files and no video of a clip, as in the companion corpus of audio alone"
    return (
        f"{folder.root}: {what}; give the clone of {SOURCE} (commit {COMMIT}: `git checkout {COMMIT}` in it), or its "
        f"folder {_FOLDER}"
    )


JAVANESE = Corpus(
    name="javanese",
    description="Javanese acted speech, small and public",
    read=read,
    label_names=EMOTIONS,
    about=About(
        title="Javanese acted speech of 10 actors, face and voice, the smallest of these corpora: 25 MB",
        download=f"`git clone {SOURCE}`, of which the folder dataset-resize is read (240 clips of 1.7 to 8 s, "
        f"360x270, 29.97 fps); if it is not there, run `git checkout {COMMIT}` in the clone",
        source=f"{SOURCE} (commit {COMMIT})",
        licence=f"commit {COMMIT} has no licence file, commit 32e8259c has that of MIT, for the project. "
        "The companion corpus of audio alone, 2black0/sound-emotion-recognition-javanese, has the MIT licence",
        layout=(
            "`dataset-resize/01-04-06_01.mp4` (actor, sentence, emotion, take), or that folder's files themselves",
            "Folders beside `dataset-resize/` are passed over, and so are audio files: the companion's takes have "
            "names like the clips', but need not be the same recordings",
        ),
        folds="10, one actor each; 240 clips, 24 each: 4 sentences in 6 emotions, the same for all actors",
        metrics="UAR (there are no published speaker-independent numbers)",
        confirmed="names, counts, that each clip has video and audio (its files); the codes of emotions (the "
        "companion's How-To-Read-The-Dataset.txt)",
        unconfirmed="whether the licence of commit 32e8259c covers the clips, too",
    ),
    datasets={
        "javanese": ReadyMade(
            DatasetParams(corpus="javanese", classes=EMOTIONS, num_folds=10),
            per_fold_and_class(dict.fromkeys(EMOTIONS, (4,) * 10)),
        ),
    },
)
