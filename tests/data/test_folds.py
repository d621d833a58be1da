"""Folds share no speaker, and validation is made of held-out training speakers."""

import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.data import folds

EMOTIONS = DatasetParams(corpus="csv", classes=("calm", "angry"), num_folds=4)


def manifest(num_subjects=12, clips_each=4):
    rows = [
        {"clip_id": f"s{s}_{c}", "subject": f"s{s}", "label": c % 2, "test_fold": 1 + s % 4}
        for s in range(num_subjects)
        for c in range(clips_each)
    ]
    return pd.DataFrame(rows).astype({"label": "Int64", "test_fold": "Int64", "subject": "str"})


def split(frame, fold=1, selection="validation", seed=0, dataset=EMOTIONS):
    return folds.split(frame, fold, dataset, selection, 0.25, seed)


def speakers(frame, clip_ids):
    return set(frame.set_index("clip_id").loc[clip_ids, "subject"])


def test_the_parts_cover_everything_once():
    frame = manifest()
    for fold in (1, 2, 3, 4):
        parts = split(frame, fold)
        tested = folds.test_clips(frame, fold)
        assert sorted(parts.train + parts.validation + tested) == sorted(frame["clip_id"])
        groups = [speakers(frame, part) for part in (parts.train, parts.validation, tested)]
        assert sum(len(group) for group in groups) == 12
        assert len(groups[1]) == 2  # a quarter of 9
    assert split(frame, selection="last").validation is None
    assert len(split(frame, selection="last").train) == 36


def test_the_seed_chooses_the_validation_speakers():
    frame = manifest()
    assert split(frame, seed=1) == split(frame.sample(frac=1, random_state=0).sort_index(), seed=1)
    assert len({tuple(split(frame, seed=seed).validation) for seed in range(10)}) > 3


def test_where_speakers_are_unknown_clips_are_held_out_of_each_class():
    frame = manifest().assign(subject=None)
    parts = split(frame)
    labels = frame.set_index("clip_id").loc[parts.validation, "label"]
    assert labels.value_counts().to_dict() == {0: 4, 1: 4}
    assert not set(parts.train) & set(parts.validation)


def test_clips_that_are_never_tested_train_in_every_fold():
    frame = manifest()
    extra = frame.iloc[:1].assign(clip_id="extra", subject="other", test_fold=pd.NA)
    frame = pd.concat([frame, extra], ignore_index=True)
    assert all("extra" in split(frame, fold, "last").train for fold in (1, 2, 3, 4))


def test_a_speaker_on_both_sides_is_refused():
    frame = manifest()
    frame.loc[0, "test_fold"] = 2
    for fold in (1, 2):
        with pytest.raises(ValueError, match=rf"fold {fold}: 1 speakers are both trained on and tested \(s0\)"):
            split(frame, fold)
    frame.loc[0, "test_fold"] = pd.NA
    with pytest.raises(ValueError, match="s0"):
        split(frame, 1)


def test_a_class_missing_from_a_part_is_refused():
    frame = manifest()
    with pytest.raises(ValueError, match="test part of fold 2 has no clip of class angry"):
        split(frame[(frame["test_fold"] != 2) | (frame["label"] == 0)], 2)
    with pytest.raises(ValueError, match="training part of fold 2 has no clip of class angry"):
        split(frame[(frame["test_fold"] == 2) | (frame["label"] == 0)], 2)
    few = frame[frame["subject"].isin(["s0", "s1", "s2"])]
    seed = next(seed for seed in range(20) if speakers(few, split(few, seed=seed).validation) == {"s1"})
    few = few[(few["label"] == 0) | (few["subject"] != "s2")]
    with pytest.raises(ValueError, match="without its validation speakers has no clip of class angry"):
        split(few, seed=seed)


def test_a_fold_out_of_range_is_refused():
    for fold in (0, 5):
        with pytest.raises(ValueError, match="folds 1 to 4"):
            split(manifest(), fold)
    with pytest.raises(ValueError, match="there are folds 1, 2, 3, 4"):
        folds.test_clips(manifest(), 5)


def test_regression_needs_no_classes():
    dataset = DatasetParams(corpus="csv", task="regression", targets=("valence",), num_folds=4)
    frame = manifest().assign(label=pd.NA)
    assert len(split(frame, dataset=dataset).validation) == 8
    assert len(split(frame.assign(subject=None), dataset=dataset).validation) == 9
