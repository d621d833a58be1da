"""MSP-IMPROV: 12 actors improvise in 6 sessions; labels are the raters' consensus.

By public readers of the release, ``Evalution.txt`` (spelled so) has a line such as
``UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.6; V:2.0; D:3.0; N:3.2;`` per clip, followed by a line per rater, where the
media files are named ``MSP-IMPROV-...``.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.published import avf_mae, hicmae, per_class, per_fold, recalls
from hicmae_core.corpora.tables import look_up, read_text

CODES = {"A": "anger", "H": "happy", "N": "neutral", "S": "sad", "O": "other", "X": "no agreement"}
CLASSES = ("anger", "happy", "neutral", "sad")
_CLIP = re.compile(r"(?:UTD|MSP)-IMPROV-(S\d\d[A-Z]-([FM]0([1-6]))-[PRST]-[FM][FM]\d\d)")
_LINE = re.compile(r"(?:UTD|MSP)-IMPROV-\S+;.*")
_EXAMPLE = "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.600000; V:2.000000; D:3.000000; N:3.200000;"


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the clips of the evaluation file; see `base.ReadFn`."""
    found = folder.find("Evalution.txt") or folder.find("Evaluation.txt")
    if found is None:
        raise ValueError(f"{folder.root}: there is no Evalution.txt; it holds the labels and comes with the corpus")
    path = folder.root / found
    media = find_media(folder, dataset.video, _clip_of)
    rows = []
    for number, raw in enumerate(read_text(path, errors="replace").splitlines(), start=1):
        if not _LINE.match(raw.strip()):
            continue
        name, code = (part.strip() for part in raw.split(";")[:2])
        clip = _CLIP.fullmatch(stem(name))
        if clip is None:
            raise ValueError(f"{path}, line {number}: expected such as `{_EXAMPLE}`, not {raw[:80]!r}")
        clip_id, speaker, session = f"MSP-IMPROV-{clip[1]}", clip[2], int(clip[3])
        label = look_up(CODES, code, path, number)
        paths = media.of(clip_id, f"Video/session{session}/{clip_id}.avi", f"face_aligned/{clip_id}")
        rows.append({"clip_id": clip_id, **paths, "subject": speaker, "label_name": label, "test_fold": session})
    if not rows:
        raise ValueError(f"{path}: has no line such as `{_EXAMPLE}`")
    return pd.DataFrame(rows)


def _clip_of(path: str) -> str | None:
    match = _CLIP.fullmatch(stem(path))
    return f"MSP-IMPROV-{match[1]}" if match else None


MSP_IMPROV = Corpus(
    name="msp_improv",
    description="MSP-IMPROV, improvised dialogues",
    read=read,
    label_names=tuple(CODES.values()),
    about=About(
        title="MSP-IMPROV (Busso et al., IEEE TAC 2017)",
        download="the audio-visual release with its evaluation file",
        source="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html (signed agreement)",
        licence="academic licence of the University of Texas at Dallas",
        layout=(
            "`Evalution.txt` (spelled so in the release)",
            "`Video/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.avi`",
            "`Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav` (if missing, the audio of the video is used)",
        ),
        folds="6 by session, which is the speaker's number; all four scenarios P, R, S and T. 7,787 clips in the "
        "published protocol, 7,798 in the release",
        metrics="UAR, WAR",
        confirmed="names, line format and spelling of the evaluation file (public readers of it); 7,798 clips",
        unconfirmed="folders below Video and Audio; which 11 clips the published protocol leaves out",
    ),
    datasets={
        "msp_improv": ReadyMade(
            DatasetParams(corpus="msp_improv", classes=CLASSES, num_folds=6),
            per_fold(916, 1328, 1622, 1044, 1407, 1470, slack=11)
            + per_class({"anger": 792, "happy": 2640, "neutral": 3470, "sad": 885}, slack=11),
            results=(
                hicmae(recalls(65.78, 74.95)),
                avf_mae("H", 70.05, 76.07, war_by_fold=(76.84, 73.43, 74.85, 75.36, 82.98, 72.93)),
            ),
        ),
    },
)
