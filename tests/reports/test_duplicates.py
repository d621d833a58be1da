import hashlib

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.reports.duplicates import FINDINGS, find_duplicates, speakers_in_several_folds
from hicmae_core.reports.outcome import count_labels, histograms, numbers, outcome_of
from tests.reports.tables import made_up


def groups(duplicates: pd.DataFrame) -> list[tuple]:
    """Per group: its clips, what is the same, and the findings."""
    return [
        (rows["clip_id"].tolist(), rows["match"].iloc[0], [name for name in FINDINGS if rows[name].all()])
        for _, rows in duplicates.groupby("group")
    ]


def test_a_copied_and_a_remuxed_clip_are_found_in_real_stores(prepared):
    duplicates = find_duplicates(prepared.manifest, prepared.faces.index, prepared.audio.index)
    assert groups(duplicates) == [
        (["anna-1", "bert-copy"], "file + audio + faces", ["different_folds", "different_speakers"]),
        (["bert-1", "bert-mkv"], "faces", ["different_labels"]),
    ]
    mute = prepared.audio.index.set_index("clip_id").loc[["anna-mute", "bert-mute"]]
    assert mute["digest"].nunique() == 1


def test_silence_and_very_short_clips_prove_nothing():
    manifest, faces, audio = made_up(4)
    silence = hashlib.sha256(np.zeros(64_000, np.int16).tobytes()).hexdigest()
    audio.loc[[0, 1], ["num_samples", "digest"]] = [64_000, silence]
    audio.loc[[2, 3], ["num_samples", "digest"]] = [7_000, "b" * 64]
    faces.loc[[2, 3], ["num_frames", "digest"]] = [5, "b" * 64]
    assert find_duplicates(manifest, faces, audio).empty
    audio.loc[[0, 1], "digest"] = "c" * 64
    audio.loc[[2, 3], "num_samples"] = 8_000
    assert groups(find_duplicates(manifest, faces, audio)) == [
        (["clip0000000", "clip0000001"], "audio", ["different_labels"]),
        (["clip0000002", "clip0000003"], "audio", ["different_labels"]),
    ]


def test_unknown_files_and_rejected_clips_are_no_copies():
    manifest, faces, audio = made_up(6)
    manifest["sha256"] = None
    faces.loc[[0, 1], ["status", "digest"]] = ["no_face", ""]
    audio["digest"] = "a" * 64
    audio.loc[[2, 3], ["status", "digest"]] = ["no_sound", ""]
    manifest.loc[4, "status"] = "unreadable"
    assert find_duplicates(manifest, faces, audio).empty


def test_leaks_come_before_contradictions_and_plain_copies():
    manifest, faces, audio = made_up(600)
    manifest["test_fold"] = manifest["test_fold"].mask(manifest["test_fold"] == 5)
    for first, second in ((0, 4), (1, 2), (3, 103), (99, 503), (10, 210), (30, 430), (420, 424)):
        audio.loc[second, "digest"] = audio.loc[first, "digest"]
    manifest["target_mood"] = 0.5
    manifest.loc[4, "target_mood"] = 0.6
    found = [(ids, findings) for ids, _, findings in groups(find_duplicates(manifest, faces, audio))]
    leak = ["different_folds", "different_speakers"]
    assert found == [
        (["clip0000003", "clip0000103"], leak),
        (["clip0000010", "clip0000210"], leak),
        (["clip0000030", "clip0000430"], leak),
        (["clip0000000", "clip0000004"], ["different_labels"]),
        (["clip0000001", "clip0000002"], ["different_labels"]),
        (["clip0000099", "clip0000503"], ["different_speakers"]),
        (["clip0000420", "clip0000424"], []),
    ]


def test_two_faces_of_one_clip_are_one_clip():
    manifest, faces, audio = made_up(3)
    twins = faces.iloc[[0, 0, 1, 1, 2]].reset_index(drop=True)
    twins["clip_id"] = ["clip0000000#1", "clip0000000#2", "clip0000001#1", "clip0000001#2", "clip0000002"]
    twins["digest"] = ["a" * 64, "a" * 64, "b" * 64, "c" * 64, "c" * 64]
    assert groups(find_duplicates(manifest, twins, audio)) == [
        (["clip0000001", "clip0000002"], "faces", ["different_labels"])
    ]


def test_speakers_who_are_trained_on_and_tested():
    manifest, _, _ = made_up(300)
    assert speakers_in_several_folds(manifest).empty
    manifest.loc[0, "test_fold"] = 3
    manifest.loc[101, "test_fold"] = None
    manifest.loc[299, ["subject", "test_fold"]] = [None, 1]
    assert speakers_in_several_folds(manifest).to_numpy().tolist() == [
        ["speaker0", "1, 3", 100],
        ["speaker1", "2, train only", 100],
    ]


@pytest.mark.slow
def test_a_million_clips_are_counted_and_compared():
    manifest, faces, audio = made_up(1_100_000)
    faces.loc[7, "digest"] = faces.loc[999_999, "digest"]
    audio.loc[12_345, ["status", "digest"]] = ["no_sound", ""]
    outcome = outcome_of(manifest, faces, audio)
    duplicates = find_duplicates(manifest, faces, audio)
    summary = numbers(outcome, duplicates, speakers_in_several_folds(outcome.usable))
    count_labels(outcome.usable, DatasetParams(corpus="csv", classes=tuple("abcd"), num_folds=5))
    assert len(histograms(outcome)) == 5
    assert duplicates["clip_id"].tolist() == ["clip0000007", "clip0999999"]
    assert summary["num_usable"] == 1_099_999
    assert summary["num_speakers"] == 11_000
