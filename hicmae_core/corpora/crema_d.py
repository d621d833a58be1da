"""CREMA-D: 91 actors speak 12 sentences in 6 emotions; labels are the intended or the perceived emotion.

Confirmed against the corpus's own README: folders, the columns of ``processedResults/summaryTable.csv`` and its ties
such as ``A:D``. Counted from its 7,442 names: clips per fold and class. Unconfirmed: why four clips are unusable. The
lists of the published protocol leave one more out, 1040_ITH_SAD_XX, which is sound; it is kept here.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus
from hicmae_core.corpora.listing import Folder, find_media, note_passed_over, stem
from hicmae_core.corpora.tables import look_up, read_columns

CODES = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
KNOWN_BROKEN = ("1076_MTI_NEU_XX", "1076_MTI_SAD_XX", "1064_TIE_SAD_XX", "1064_IEO_DIS_MD")
LAST_ACTOR_OF_FOLD = (1018, 1036, 1054, 1072, 1091)
_VOTES = {name[0].upper(): name for name in CODES.values()}
_TIE = "tie"
_NAME = re.compile(r"(1\d{3})_[A-Z]{3}_(ANG|DIS|FEA|HAP|NEU|SAD)_(?:XX|LO|MD|HI)")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips by their names; see `base.ReadFn`."""
    media = find_media(folder, dataset.video, _clip_of)
    perceived = _perceived(folder) if dataset.labels == "perceived" else None
    sexes = _sexes(folder)
    named = media.clips | media.sounds | media.frames
    note_passed_over(folder, _clip_of, named)
    rows = []
    for clip_id in sorted(named):
        paths = media.of(clip_id, f"VideoFlash/{clip_id}.flv", f"face_aligned/{clip_id}")
        actor, code = clip_id[:4], clip_id[9:12]
        fold = next(i for i, last in enumerate(LAST_ACTOR_OF_FOLD, start=1) if int(actor) <= last)
        label = CODES[code] if perceived is None else perceived.get(clip_id)
        status, reason = None, None
        if label == _TIE:
            label, status, reason = None, "tied_label", "raters' votes tie; there is no one perceived emotion"
        if clip_id in KNOWN_BROKEN:
            status, reason = "known_broken", "the file is broken in the corpus's release"
        labels = {"label_name": label, "test_fold": fold, "status": status, "reason": reason}
        rows.append({"clip_id": clip_id, **paths, "subject": actor, "group": sexes.get(actor), **labels})
    return pd.DataFrame(rows)


def _clip_of(path: str) -> str | None:
    match = _NAME.fullmatch(stem(path))
    return match[0] if match and 1001 <= int(match[1]) <= LAST_ACTOR_OF_FOLD[-1] else None


def _perceived(folder: Folder) -> dict[str, str]:
    """The emotion that most raters of picture and sound chose, or `_TIE`."""
    path = folder.find_needed("summaryTable.csv", "labels `perceived` need it; it comes in processedResults/")
    table = read_columns(path, "FileName", "MultiModalVote")
    return {
        clip_id: _TIE if ":" in vote else look_up(_VOTES, vote, path, int(line))
        for line, clip_id, vote in table.itertuples()
    }


def _sexes(folder: Folder) -> dict[str, str]:
    """Each actor's sex, if the corpus's table of them is there."""
    found = folder.find("VideoDemographics.csv")
    if found is None:
        return {}
    table = read_columns(folder.root / found, "ActorID", "Sex")
    return {actor.strip(): sex.strip().lower() for _, actor, sex in table.itertuples()}


CREMA_D = Corpus(
    name="crema_d",
    description="CREMA-D, acted sentences",
    read=read,
    label_names=tuple(CODES.values()),
    labellings=("intended", "perceived"),
)
