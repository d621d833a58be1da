"""Clips that are there twice, and speakers who are trained on and tested.

A copy in both the training and the test part makes results look better than they are; a copy with another label or
another speaker is a mistake in one of the two. Copies are found by equality of their content, never by likeness: two
clips of one speaker look alike without being the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pandas as pd

from hicmae_core.config import SAMPLE_RATE_HZ, Modality
from hicmae_core.reports.outcome import fold_names, outcome_of
from hicmae_core.store.manifest import among

FINDINGS = ("different_folds", "different_labels", "different_speakers")
"""What can be wrong with a group of copies, the worst first."""

_MIN_SECONDS = 0.5
"""Shorter audio, or fewer frames than this at 25 per second, is too little to tell clips apart."""
_MIN_FRAMES = round(25 * _MIN_SECONDS)


def find_duplicates(
    manifest: pd.DataFrame, faces_index: pd.DataFrame, audio_index: pd.DataFrame, modality: Modality = "both"
) -> pd.DataFrame:
    """Find usable clips with the same content under several ids.

    Three things are compared, each exactly: the video file's bytes (``sha256`` of the manifest), the audio as decoded
    to 16 kHz, and the stored face crops. Digital silence and clips below half a second prove nothing and do not count
    as the same audio or face.

    Args:
        manifest: All clips.
        faces_index: Index of the faces store: ``clip_id, source, status, reason, num_frames, digest``.
        audio_index: Index of the audio store: ``clip_id, status, reason, num_samples, digest``.
        modality: What the dataset takes of its clips.

    Returns:
        A row per clip of each group of copies: ``group`` (1 is the worst), ``match`` (what is the same: ``file``,
        ``audio``, ``faces``, joined by `` + ``), ``clip_id, subject, label_name, test_fold``, the target columns, and
        the booleans of `FINDINGS`, which concern the group. A clip without a test fold is always trained on, which
        counts as a fold of its own.
    """
    outcome = outcome_of(manifest, faces_index, audio_index, modality)
    audio = outcome.steps.get("audio", audio_index)
    content = {
        "file": outcome.usable.rename(columns={"sha256": "digest"}),
        "audio": _audible(audio[among(audio["clip_id"], outcome.usable["clip_id"])]),
        "faces": outcome.faces[outcome.faces["num_frames"] >= _MIN_FRAMES],
    }
    groups: dict[tuple[str, ...], list[str]] = {}
    for match, rows in content.items():
        for clip_ids in set(_same_digest(rows)):
            groups.setdefault(clip_ids, []).append(match)
    return _described(groups, outcome.usable)


def speakers_in_several_folds(usable: pd.DataFrame) -> pd.DataFrame:
    """Speakers whose clips are tested in one fold and trained on in the same: ``subject, folds, num_clips``."""
    known = usable[usable["subject"].notna()]
    several = known.groupby("subject")["test_fold"].transform("nunique", dropna=False) > 1
    by_subject = known.assign(folds=fold_names(known))[several].groupby("subject")
    table = by_subject["folds"].agg(lambda names: ", ".join(sorted(set(names)))).to_frame()
    return table.assign(num_clips=by_subject.size()).reset_index()


def _audible(audio: pd.DataFrame) -> pd.DataFrame:
    """The rows whose audio is long enough and not digital silence, whose digest follows from its length."""
    rows = audio[audio["num_samples"] >= _MIN_SECONDS * SAMPLE_RATE_HZ]
    rows = rows[rows["digest"].duplicated(keep=False)]
    silence = {hashlib.sha256(bytes(2 * int(num))).hexdigest() for num in rows["num_samples"].unique()}
    return rows[~rows["digest"].isin(silence)]


def _same_digest(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """The ids of the clips that share a digest, sorted."""
    rows = rows.loc[rows["digest"].notna() & (rows["digest"] != ""), ["clip_id", "digest"]].drop_duplicates()
    rows = rows[rows["digest"].duplicated(keep=False)].sort_values("clip_id")
    yield from rows.groupby("digest")["clip_id"].agg(tuple)


def _described(groups: dict[tuple[str, ...], list[str]], clips: pd.DataFrame) -> pd.DataFrame:
    """The groups' clips with what is known about them, the worst groups first."""
    targets = [column for column in map(str, clips) if column.startswith("target_")]
    members = pd.DataFrame({"clip_id": list(groups), "match": [" + ".join(matches) for matches in groups.values()]})
    rows = members.rename_axis("group").reset_index().explode("clip_id")
    known = clips.set_index("clip_id")[["subject", "label", "label_name", "test_fold", *targets]]
    rows = rows.astype({"clip_id": "str"}).join(known, on="clip_id")
    by_group = rows.groupby("group")
    kinds = pd.DataFrame(
        {
            "different_folds": by_group["test_fold"].nunique(dropna=False) > 1,
            "different_labels": (by_group[["label", *targets]].nunique(dropna=False) > 1).any(axis=1),
            "different_speakers": by_group["subject"].nunique() > 1,
            "match": by_group["match"].first(),
            "first": by_group["clip_id"].min(),
        }
    )
    ranked = kinds.sort_values([*FINDINGS, "match", "first"], ascending=[False] * len(FINDINGS) + [True, True])
    rank = pd.Series(range(1, len(ranked) + 1), ranked.index)
    rows = rows.join(kinds[list(FINDINGS)], on="group")
    rows["group"] = rows["group"].map(rank).astype("int64")
    columns = ["group", "match", "clip_id", "subject", "label_name", "test_fold", *targets, *FINDINGS]
    return rows.sort_values(["group", "clip_id"])[columns].reset_index(drop=True)
