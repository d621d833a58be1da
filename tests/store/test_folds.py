"""Folds share no speaker, and validation is made of held-out training speakers."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.store import folds

EMOTIONS = DatasetParams(corpus="csv", classes=("calm", "angry"), num_folds=4)
LOAD = DatasetParams(
    corpus="csv", task="multi_classification", classes=("low", "high"), targets=("arousal", "valence"), num_folds=1
)


def manifest(num_subjects=12, clips_each=4):
    rows = [
        {"clip_id": f"s{s}_{c}", "subject": f"s{s}", "unit": f"s{s}_{c}", "label": c % 2, "test_fold": 1 + s % 4}
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


@pytest.mark.parametrize("seed", range(5))
def test_where_speakers_are_unknown_each_class_gives_its_share_of_clips(seed):
    labels = np.repeat([0, 1, 2], [600, 300, 20])
    frame = pd.DataFrame({"clip_id": [f"c{i}" for i in range(920)], "subject": None, "label": labels, "test_fold": 1})
    frame = frame.assign(unit=frame["clip_id"]).sample(frac=1, random_state=seed, ignore_index=True)
    frame.loc[::2, "test_fold"] = 2
    dataset = EMOTIONS.model_copy(update={"classes": ("a", "b", "c")})
    parts = split(frame, seed=seed, dataset=dataset)
    by_clip = frame.set_index("clip_id")
    train = by_clip.loc[parts.train + parts.validation, "label"].value_counts()
    validation = by_clip.loc[parts.validation, "label"].value_counts()
    assert len(parts.validation) == round(0.25 * len(by_clip[by_clip["test_fold"] != 1]))
    assert ((validation - 0.25 * train).abs() <= 1).all()
    assert not set(parts.train) & set(parts.validation)


def fixed_split(num_train=200, num_test=20):
    """Clips without speakers, of which only the tested ones have a fold."""
    rng = np.random.default_rng(0)
    clips = num_train + num_test
    frame = pd.DataFrame({"clip_id": [f"c{i}" for i in range(clips)], "subject": None, "label": pd.NA})
    frame["unit"] = frame["clip_id"]
    frame["test_fold"] = pd.array([pd.NA] * num_train + [1] * num_test, dtype="Int64")
    frame["target_arousal"] = (rng.random(clips) < 0.2).astype(int)
    frame["target_valence"] = (rng.random(clips) < 0.5).astype(int)
    return frame


def test_a_fixed_split_of_several_targets_is_stratified_by_their_combination():
    frame = fixed_split()
    parts = split(frame, dataset=LOAD)
    by_clip = frame.set_index("clip_id")
    train, validation = (
        by_clip.loc[ids].groupby(["target_arousal", "target_valence"]).size()
        for ids in (parts.train + parts.validation, parts.validation)
    )
    assert len(folds.test_clips(frame, 1)) == 20
    assert len(parts.train + parts.validation) == 200
    assert ((validation - 0.25 * train).abs() <= 1).all()


def test_classes_are_looked_for_in_each_target():
    frame = fixed_split()
    folds.check_folds(frame, LOAD)
    frame.loc[frame["test_fold"] == 1, "target_valence"] = 0
    with pytest.raises(ValueError, match="test part of fold 1 has no clip of class high of target valence; fix"):
        folds.check_folds(frame, LOAD)


def test_an_incomplete_dataset_may_lack_classes_and_folds_but_not_leak(caplog):
    dataset = EMOTIONS.model_copy(update={"allow_incomplete": True})
    frame = manifest()
    frame = frame[(frame["test_fold"] != 3) & ((frame["test_fold"] != 2) | (frame["label"] == 0))]
    folds.check_folds(frame, dataset)
    assert "test part of fold 2 has no clip of class angry" in caplog.text
    assert "fold 3 has no clips to test" in caplog.text
    assert split(frame, 2, "last", dataset=dataset).train
    with pytest.raises(ValueError, match="the test part of fold 3 has no clips"):
        split(frame, 3, dataset=dataset)
    frame.loc[frame.index[0], "test_fold"] = 4
    with pytest.raises(ValueError, match="both trained on and tested"):
        folds.check_folds(frame, dataset)


def test_a_small_part_of_a_download_can_be_prepared(caplog):
    frame = manifest()
    folds.check_folds(frame[frame["test_fold"] == 1], EMOTIONS.model_copy(update={"allow_incomplete": True}))
    assert "fold 1 has no clips to test or none to train on" in caplog.text


def test_clips_that_are_never_tested_train_in_every_fold():
    frame = manifest()
    extra = frame.iloc[:1].assign(clip_id="extra", unit="extra", subject="other", test_fold=pd.NA)
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


def in_units(frame, size=4):
    """The same clips, of which every `size` are a unit with the first one's labels and fold."""
    first = frame.index // size * size
    shared = [column for column in frame if column not in ("clip_id", "unit")]
    units = frame.loc[first, "clip_id"].to_numpy() + "+"
    return frame.assign(unit=units, **{column: frame.loc[first, column].array for column in shared})


def whole_units(frame, clip_ids):
    """Whether clips are whole units."""
    chosen = frame["clip_id"].isin(clip_ids)
    return not set(frame.loc[chosen, "unit"]) & set(frame.loc[~chosen, "unit"])


@pytest.mark.parametrize("seed", range(5))
def test_validation_splits_no_unit_and_takes_its_share_of_units(seed):
    frame = in_units(fixed_split())
    folds.check_folds(frame, LOAD)
    parts = split(frame, seed=seed, dataset=LOAD)
    assert whole_units(frame, parts.validation)
    assert whole_units(frame, parts.train)
    units = frame.drop_duplicates("unit").set_index("unit")
    columns = ["target_arousal", "target_valence"]
    train = units[units["test_fold"].isna()].groupby(columns).size()
    held_out = frame.loc[frame["clip_id"].isin(parts.validation), "unit"].unique()
    assert len(held_out) == round(0.25 * train.sum())
    assert ((units.loc[held_out].groupby(columns).size() - 0.25 * train).fillna(0).abs() <= 1).all()


def test_units_of_unknown_speakers_are_held_out_whole_beside_known_ones():
    frame = in_units(manifest(24).assign(subject=lambda rows: rows["subject"].where(rows.index >= 48)))
    frame["label"] = pd.array([index // 16 % 2 for index in range(len(frame))], dtype="Int64")
    parts = [split(frame, seed=seed) for seed in range(5)]
    assert all(whole_units(frame, part.validation) for part in parts)
    assert any(frame.set_index("clip_id").loc[part.validation, "subject"].isna().any() for part in parts)


def test_few_labels_are_a_share_of_the_units():
    frame = in_units(manifest(48))
    frame["label"] = pd.array([index // 4 % 2 for index in range(len(frame))], dtype="Int64")
    chosen = [few(frame, fraction) for fraction in (0.01, 0.25, 0.5)]
    assert [len(ids) for ids in chosen] == [2 * 4, 12 * 4, 24 * 4]
    assert all(whole_units(frame, ids) for ids in chosen)
    labels = frame.set_index("clip_id")["label"]
    assert [labels[ids].value_counts().to_dict() for ids in chosen] == [{0: 4 * n, 1: 4 * n} for n in (1, 6, 12)]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (
            "test_fold",
            2,
            "fold: 2 of s0_0; 1 of s0_1, s0_2, s0_3 (units of this kind: 1); a unit is scored as one",
        ),
        ("test_fold", pd.NA, "fold: none of s0_0; 1 of s0_1"),
        ("label", 1, "label: angry of s0_0; calm of s0_1, s0_2, s0_3"),
        ("subject", "other", "subject: other of s0_0; s0 of s0_1"),
        ("subject", None, "subject: none of s0_0; s0 of s0_1"),
    ],
)
def test_the_clips_of_a_unit_must_agree(column, value, said):
    frame = in_units(manifest(24))
    frame["label"] = pd.array([index // 16 % 2 for index in range(len(frame))], dtype="Int64")
    folds.check_folds(frame, EMOTIONS)
    frame.loc[0, column] = value
    with pytest.raises(ValueError, match=re.escape("unit s0_0+ has clips that differ in their " + said)):
        folds.check_folds(frame, EMOTIONS)
    with pytest.raises(ValueError, match="has clips that differ"):
        folds.check_folds(frame, EMOTIONS.model_copy(update={"allow_incomplete": True}))


def test_targets_of_a_unit_must_agree():
    frame = in_units(fixed_split())
    frame.loc[1, "target_valence"] = 1 - frame.loc[0, "target_valence"]
    with pytest.raises(ValueError, match=r"unit c0\+ has clips that differ in their target valence"):
        folds.check_folds(frame, LOAD)


def test_a_unit_on_both_sides_of_a_fold_is_refused():
    frame = in_units(manifest().assign(subject=None))
    frame.loc[0, "test_fold"] = 2
    said = "fold 1: 1 units are both trained on and tested, such as unit s0_0+ (s0_1, s0_2, s0_3 tested, s0_0 not)"
    with pytest.raises(ValueError, match=re.escape(said)):
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
    frame = manifest().assign(label=pd.NA, target_valence=np.arange(48) / 48)
    assert len(split(frame, dataset=dataset).validation) == 8
    parts = split(frame.assign(subject=None), dataset=dataset)
    values = frame.set_index("clip_id")["target_valence"]
    assert len(parts.validation) == 9
    assert values[parts.validation].mean() == pytest.approx(values[parts.train].mean(), abs=0.06)


def few(frame, fraction, seed=0, fold=1, dataset=EMOTIONS):
    return folds.few_labels(frame, list(frame["clip_id"]), dataset, fraction, seed, fold)


def test_few_labels_are_a_share_of_each_class_and_grow_from_each_other():
    rare = manifest().assign(label=[1 if place % 16 == 0 else 0 for place in range(48)])
    labels = rare.set_index("clip_id")["label"]
    chosen = [few(rare, fraction) for fraction in (0.1, 0.25, 0.5, 1.0)]
    assert [len(ids) for ids in chosen] == [4 + 1, 11 + 1, 22 + 2, 48]
    assert all(set(labels[ids]) == {0, 1} for ids in chosen)
    assert all(set(smaller) < set(larger) for smaller, larger in itertools.pairwise(chosen))
    assert chosen[-1] == list(rare["clip_id"])
    for ids in chosen:
        assert ids == [clip_id for clip_id in rare["clip_id"] if clip_id in set(ids)]


def test_seed_and_fold_choose_the_few_labels():
    frame = manifest()
    assert few(frame, 0.25) == few(frame, 0.25)
    assert len({tuple(few(frame, 0.25, seed, fold)) for seed in range(3) for fold in (1, 2)}) == 6


def test_few_labels_of_several_targets_and_of_a_regression():
    frame = manifest().assign(target_arousal=[0, 1] * 24, target_valence=[0, 0, 0, 1] * 12)
    chosen = frame[frame["clip_id"].isin(few(frame, 0.25, dataset=LOAD))]
    combinations = chosen.groupby(["target_arousal", "target_valence"]).size().to_dict()
    assert combinations == {(0, 0): 6, (1, 0): 3, (1, 1): 3}
    regression = DatasetParams(corpus="csv", task="regression", targets=("valence",), num_folds=4)
    assert len(few(frame.assign(target_valence=0.5), 0.25, dataset=regression)) == 12
