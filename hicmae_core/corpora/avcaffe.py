"""AVCAFFE: 106 participants of video calls rate their arousal and valence after each task, in 5 levels each.

The label is that of a participant's task: its short clips share it and are one unit, which is scored once. Clips of the
participant listening are kept: they have a silent audio stream. The classes are levels, so that both targets share
their names, from very high (Excited, Pleasant) to very low (Calm, Unpleasant); words and order are the corpus's own.
"""

from __future__ import annotations

import re

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import About, Corpus, ReadyMade
from hicmae_core.corpora.listing import Folder, by_key, note_passed_over, stem
from hicmae_core.corpora.published import PublishedResult, baseline, hicmae, in_all, svfap
from hicmae_core.corpora.tables import look_up, read_lines
from hicmae_core.files import VIDEO

LEVELS = ("very_high", "high", "medium", "low", "very_low")
WORDS = {
    "arousal": ("Excited", "Wide-awake", "Neutral", "Dull", "Calm"),
    "valence": ("Pleasant", "Pleased", "Neutral", "Unsatisfied", "Unpleasant"),
}
TEST_PARTICIPANTS = {1, 2, 13, 14, 43, 44, 53, 54, 57, 58, 63, 64, 67, 68, 77, 78, 99, 100, 107, 108}
_CLIP = re.compile(r"shorter_segments/(?:.*/)?(aiim\d{3})[/_](task_\d)")
_LINE = re.compile(r"(aiim\d{3}_task_\d)\s*,\s*(\S+)")


def read(folder: Folder, dataset: DatasetParams) -> pd.DataFrame:
    """List the short clips, with the labels of their task; see `base.ReadFn`."""
    if dataset.labels and dataset.targets:
        raise ValueError(
            f"`labels: {dataset.labels}` chooses the one target of a classification; leave it out where there are "
            f"`targets` ({', '.join(dataset.targets)})"
        )
    label = dataset.labels or AVCAFFE.labellings[0] if dataset.task == "classification" else None
    levels = {name: _read_levels(folder, name) for name in (*dataset.targets, *([label] if label else []))}
    rows = []
    videos = by_key(folder.files, VIDEO, _clip_of)
    note_passed_over(folder, _clip_of, videos)
    for clip_id, video in videos.items():
        participant, task = _CLIP.search(video).groups()  # type: ignore[union-attr]
        unit = f"{participant}_{task}"
        fold = 1 if int(participant[4:]) in TEST_PARTICIPANTS else None
        level = levels[label].get(unit) if label else None
        targets = [levels[name].get(unit) for name in dataset.targets]
        rows.append((clip_id, video, video, participant, unit, level, fold, *targets))
    columns = ["clip_id", "video_path", "audio_path", "subject", "unit", "label_name", "test_fold"]
    table = pd.DataFrame(rows, columns=[*columns, *(f"target_{name}" for name in dataset.targets)])
    return table.astype({"test_fold": "Int64"}).sort_values("clip_id", ignore_index=True)


def _clip_of(path: str) -> str | None:
    match = _CLIP.search(path)
    if match is None:
        return None
    name = stem(path)
    return name if name.startswith(match[1]) else f"{match[1]}_{match[2]}_{name}"


def _read_levels(folder: Folder, target: str) -> dict[str, str]:
    path = folder.find_needed(f"ground_truths/{target}.txt", "it comes with the corpus")
    level_of = dict(zip(WORDS[target], LEVELS, strict=True))
    return {
        match[1]: look_up(level_of, match[2], path, line)
        for line, match in read_lines(path, _LINE, f"aiim001_task_1, {WORDS[target][0]}")
    }


_PAPER = "Sarkar et al., AVCAffe, AAAI 2023"
_COUNTS = in_all(58_112)


def _one_target(name: str, *results: PublishedResult) -> ReadyMade:
    params = DatasetParams(corpus="avcaffe", classes=LEVELS, num_folds=1, labels=name)
    return ReadyMade(params, _COUNTS, results)


AVCAFFE = Corpus(
    name="avcaffe",
    description="AVCAFFE, video calls",
    read=read,
    labellings=tuple(WORDS),
    about=About(
        title="AVCAffe (Sarkar, Posen, Etemad, AAAI 2023)",
        download="videos/shorter_segments (20.3 GB) and ground_truths",
        source="https://borealisdata.ca/dataset.xhtml?persistentId=doi:10.5683/SP3/PSWY62 (request for access)",
        licence="the corpus's database licence agreement: https://pritamsarkar.com/AVCAffe/LICENSE.html",
        layout=(
            "`videos/shorter_segments/aiim001/task_1/aiim001_task_1_001.avi`",
            "`ground_truths/arousal.txt` and `ground_truths/valence.txt`, with lines `aiim001_task_1, Excited`",
        ),
        folds="1: 86 participants train, 20 test (the corpus's validation list); 58,112 clips. What is scored is a "
        "participant's task (`unit` in the manifest, such as `aiim001_task_1`): its clips' probabilities are averaged",
        metrics="weighted F1. The published numbers are of one model per target, `avcaffe_arousal` and "
        "`avcaffe_valence`; `avcaffe`, one model with a head for each, has none",
        confirmed="all of the above (the corpus's README and loader)",
        unconfirmed="how the short clips are named below their task's folder (any name will do)",
    ),
    datasets={
        "avcaffe_arousal": _one_target(
            "arousal",
            hicmae({"weighted_f1": 43.18}),
            svfap({"weighted_f1": 40.36}),
            baseline(2023, {"weighted_f1": 40.50}, _PAPER),
        ),
        "avcaffe_valence": _one_target(
            "valence",
            hicmae({"weighted_f1": 44.20}),
            svfap({"weighted_f1": 41.49}),
            baseline(2023, {"weighted_f1": 39.50}, _PAPER),
        ),
        "avcaffe": ReadyMade(
            DatasetParams(
                corpus="avcaffe", task="multi_classification", classes=LEVELS, targets=tuple(WORDS), num_folds=1
            ),
            _COUNTS,
        ),
    },
    not_comparable={
        "multi_classification": "The published numbers of AVCAFFE are of models that were trained on one target each; "
        "a model with a head for both is another measurement: train `avcaffe_arousal` and `avcaffe_valence`."
    },
)
