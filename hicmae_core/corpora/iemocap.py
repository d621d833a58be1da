"""IEMOCAP: 10 actors in 5 dyadic sessions; labels are the raters' consensus.

The speaker is the letter of the utterance, not that of the dialogue. The release holds videos of whole dialogues with
both actors side by side, so a video per utterance must be cut from them first.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, find_media, stem
from hicmae_core.corpora.published import SECOND_HAND, avf_mae, hicmae, per_class, per_fold, recalls
from hicmae_core.corpora.tables import look_up, read_text

CODES = {
    "ang": "anger",
    "hap": "happy",
    "exc": "happy",
    "neu": "neutral",
    "sad": "sad",
    "fru": "frustrated",
    "sur": "surprised",
    "fea": "fearful",
    "dis": "disgusted",
    "oth": "other",
    "xxx": "no agreement",
}
CLASSES = ("anger", "happy", "neutral", "sad")
_CLIP = re.compile(r"Ses0([1-5])[FM]_\w+_([FM])X?[\dX]{2,3}")
_LINE = re.compile(r"\[[\d.]+\s*-\s*[\d.]+\]\s+(\S+)\s+(\S+)\s+\[.*\]")
_EXAMPLE = "[6.2901 - 8.2357] Ses01F_impro01_F000 neu [2.5000, 2.5000, 2.5000]"


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the utterances of the evaluation files; see `base.ReadFn`."""
    evaluations = [path for path in folder.files if re.search(r"EmoEvaluation/Ses0[1-5][FM]_\w+\.txt$", path)]
    if not evaluations:
        raise ValueError(f"{folder.root}: there is no Session1/dialog/EmoEvaluation/Ses01F_impro01.txt with labels")
    media = find_media(folder, dataset.video, _clip_of)
    rows: list[dict[str, object]] = []
    for evaluation in evaluations:
        path, before = folder.root / evaluation, len(rows)
        for number, line in enumerate(read_text(path, errors="replace").splitlines(), start=1):
            if not re.match(r"\[\d", line):
                continue
            match = _LINE.fullmatch(line.strip())
            clip = _CLIP.fullmatch(match[1]) if match else None
            if match is None or clip is None:
                raise ValueError(f"{path}, line {number}: expected such as `{_EXAMPLE}`, not {line[:80]!r}")
            clip_id, session, gender = match[1], int(clip[1]), clip[2]
            label = look_up(CODES, match[2], path, number)
            paths = media.of(clip_id, f"Session{session}/sentences/video/{clip_id}.mp4", f"face_aligned/{clip_id}")
            labels = {"subject": f"Ses0{session}_{gender}", "label_name": label, "test_fold": session}
            rows.append({"clip_id": clip_id, **paths, **labels})
        if len(rows) == before:
            raise ValueError(f"{path}: has no line such as `{_EXAMPLE}`")
    return pd.DataFrame(rows)


def _clip_of(path: str) -> str | None:
    return stem(path) if _CLIP.fullmatch(stem(path)) else None


IEMOCAP = Corpus(
    name="iemocap",
    description="IEMOCAP, acted dialogues",
    read=read,
    label_names=tuple(dict.fromkeys(CODES.values())),
    about=About(
        title="IEMOCAP, Interactive Emotional Dyadic Motion Capture Database (Busso et al., LREV 2008)",
        download="the full release; then cut a video per utterance out of dialog/avi/DivX by the times in "
        "EmoEvaluation, keeping the half of the image with the speaker, for example `ffmpeg -i "
        "Ses01F_impro01.avi -ss 6.2901 -to 8.2357 -vf crop=iw/2:ih:0:0 Ses01F_impro01_F000.mp4`",
        source="https://sail.usc.edu/iemocap/ (signed agreement)",
        licence="academic licence of the University of Southern California",
        layout=(
            "`Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`",
            "`Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav` (else the audio of the video is used)",
            "`Session1/sentences/video/Ses01F_impro01_F000.mp4` (cut by you)",
        ),
        folds="5 by session; 5,531 clips of 4 classes, excited counted as happy",
        metrics="UAR, WAR",
        confirmed="layout and speakers (the release's README), classes and their counts (public benchmarks)",
        unconfirmed="folds by session and their counts (reported, not enforced); which half of the image shows whom",
    ),
    datasets={
        "iemocap": ReadyMade(
            DatasetParams(corpus="iemocap", classes=CLASSES, num_folds=5),
            per_class({"anger": 1103, "happy": 1636, "neutral": 1708, "sad": 1084})
            + per_fold(1085, 1023, 1151, 1031, 1241, confirmed=False),
            results=(
                hicmae(recalls(68.21, 68.36)),
                hicmae({"uar": 67.46}, note=f"{SECOND_HAND}; taken to be of both modalities", size="S"),
                hicmae({"war": 65.23}, "audio"),
                avf_mae("H", 72.71, 73.83),
            ),
        ),
    },
)
