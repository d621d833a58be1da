import pandas as pd
import pytest

from hicmae_core.config import SummariseParams
from hicmae_core.evaluation.fold_results import metrics_of
from hicmae_core.evaluation.summary import summarise

SETTINGS = SummariseParams(bootstrap_samples=200)


def test_summary_of_folds(emotions, predictions_of):
    folds = {fold: predictions_of(emotions, fold, num_clips=30 + fold) for fold in (3, 1, 2)}
    summary = summarise("demo", emotions, folds, SETTINGS, seed=0)
    assert list(summary.folds) == [1, 2, 3]
    assert summary.folds[2] == metrics_of(folds[2], emotions)
    everything = pd.concat(folds.values(), ignore_index=True)
    assert summary.pooled == pytest.approx(metrics_of(everything, emotions))
    assert summary.confusion.sum() == len(everything) == 96
    assert summary.over_folds["uar"].mean == pytest.approx(sum(summary.folds[fold]["uar"] for fold in (1, 2, 3)) / 3)
    for name in summary.headline:
        low, high = summary.intervals[name]
        assert low < summary.pooled[name] < high
    assert summary.published == ()


def test_several_targets(load, predictions_of):
    summary = summarise("avcaffe", load, {1: predictions_of(load)}, SETTINGS, seed=0)
    assert summary.confusion.shape == (2, 3, 3)
    assert summary.headline[0] == "weighted_f1"
    assert {"weighted_f1_arousal", "weighted_f1_valence"} <= set(summary.pooled) & set(summary.intervals)
    assert (summary.modality, summary.shown) == ("both", "both")


def test_folds_that_were_shown_different_things_are_not_averaged(emotions, predictions_of):
    folds = {1: predictions_of(emotions, 1), 2: predictions_of(emotions, 2).assign(shown="audio")}
    with pytest.raises(ValueError, match=r"audio of both, both of both\); fine-tune and evaluate them all again"):
        summarise("demo", emotions, folds, SETTINGS, seed=0)


def test_the_seed_decides(emotions, predictions_of):
    folds = {1: predictions_of(emotions)}
    first, again, other = (summarise("demo", emotions, folds, SETTINGS, seed).intervals for seed in (0, 0, 1))
    assert first == again != other


def test_a_clip_is_tested_once(emotions, predictions_of):
    with pytest.raises(ValueError, match="demo: 40 clips were tested in more than one fold, such as 1_0"):
        summarise("demo", emotions, {1: predictions_of(emotions), 2: predictions_of(emotions)}, SETTINGS, seed=0)


def test_no_fold_no_summary(emotions):
    with pytest.raises(ValueError, match="no fold"):
        summarise("demo", emotions, {}, SETTINGS, seed=0)
