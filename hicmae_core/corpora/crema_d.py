"""CREMA-D: 91 actors speak 12 sentences in 6 emotions; labels are the intended or the perceived emotion."""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, find_media, note_passed_over, stem
from hicmae_core.corpora.published import avf_mae, hicmae, mae_dfer, per_fold_and_class, recalls, svfap, wavlm
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
    """The emotion that most raters of video and audio chose, or `_TIE` for a vote such as ``A:D``."""
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


_CLASSES = tuple(CODES.values())
_FOUR = ("anger", "happiness", "neutral", "sadness")
_COUNTS = per_fold_and_class(
    {
        "anger": (250, 251, 252, 252, 266),
        "disgust": (250, 251, 252, 251, 266),
        "fear": (250, 251, 252, 252, 266),
        "happiness": (250, 251, 252, 252, 266),
        "neutral": (213, 215, 216, 216, 226),
        "sadness": (250, 251, (251, 252), 251, 265),
    }
)
"""The published lists leave out 1040_ITH_SAD_XX, of fold 3."""

CREMA_D = Corpus(
    name="crema_d",
    description="CREMA-D, acted sentences",
    read=read,
    label_names=_CLASSES,
    labellings=("intended", "perceived"),
    about=About(
        title="CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset (Cao et al., IEEE TAC 2014)",
        download="VideoFlash (7,442 clips, 480x360, 30 fps) and AudioWAV (16 kHz); without AudioWAV the audio of the "
        "videos is used. For perceived labels also processedResults/summaryTable.csv, for "
        "results by sex also VideoDemographics.csv",
        source="https://github.com/CheyneyComputerScience/CREMA-D (Git LFS)",
        licence="Open Database License (ODbL)",
        layout=(
            "`VideoFlash/1001_DFA_ANG_XX.flv`",
            "`AudioWAV/1001_DFA_ANG_XX.wav`",
            "or OpenFace's aligned crops: `face_aligned/1001_DFA_ANG_XX/frame_det_00_000001.bmp` or "
            "`openface/1001_DFA_ANG_XX/1001_DFA_ANG_XX_aligned/frame_det_00_000001.bmp`",
            "`processedResults/summaryTable.csv`",
        ),
        folds="5 by actor: 1001-1018, 1019-1036, 1037-1054, 1055-1072, 1073-1091. 7,438 clips; four broken ones are "
        "`known_broken`. The published lists have 7,437, without 1040_ITH_SAD_XX (fold 3), which is audio and kept",
        metrics="UAR, WAR",
        confirmed="folders and the columns of summaryTable.csv (the corpus's README); counts (its file names)",
        unconfirmed="why the four clips are broken; there are no published counts of the perceived labels",
    ),
    datasets={
        "crema_d": ReadyMade(
            DatasetParams(corpus="crema_d", classes=_CLASSES, num_folds=5, labels="intended"),
            _COUNTS,
            results=(
                hicmae(
                    recalls(84.91, 84.89),
                    folds={"uar": (86.66, 83.27, 87.23, 83.70, 83.88), "war": (86.67, 83.20, 87.19, 83.79, 83.79)},
                ),
                hicmae(recalls(71.11, 71.01), "audio"),
                hicmae(recalls(77.25, 77.21), "video"),
                avf_mae("B", 85.10, 85.09),
                avf_mae("L", 85.69, 85.60),
                avf_mae("H", 86.02, 85.95),
                mae_dfer(77.33, 77.38),
                svfap(recalls(77.31, 77.37)),
                wavlm(73.34, 73.39),
            ),
            also_called=("crema_d_6",),
        ),
        "crema_d_4": ReadyMade(
            DatasetParams(corpus="crema_d", classes=_FOUR, num_folds=5, labels="intended"),
            tuple(entry for entry in _COUNTS if entry.label in _FOUR),
            results=(hicmae(recalls(94.00, 94.13)),),
        ),
        "crema_d_perceived": ReadyMade(
            DatasetParams(corpus="crema_d", classes=_CLASSES, num_folds=5, labels="perceived")
        ),
    },
)
