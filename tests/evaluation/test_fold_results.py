import json

import pandas as pd
import pytest

from hicmae_core.evaluation.fold_results import metrics_of, read_predictions, write_fold_results
from hicmae_core.evaluation.metrics import confusion_matrix


def test_classification_files(emotions, predictions_of, tmp_path):
    table = predictions_of(emotions)
    metrics = write_fold_results(table, emotions, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "predictions.parquet", "alone.parquet", "metrics.json", "confusion.csv",
    }  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics == {**metrics_of(table, emotions), "num_clips": 40, "num_units": 40, "num_subjects": 4}
    pairs = pd.read_csv(tmp_path / "confusion.csv")
    counts = pd.crosstab(pairs["actual"], pairs["predicted"])
    assert counts.loc["neutral", "anger"] == confusion_matrix(table["label"], table["prediction"], 4)[2, 0]


def test_regression_files(affect, predictions_of, tmp_path):
    metrics = write_fold_results(predictions_of(affect), affect, tmp_path)
    assert {"pcc", "ccc_arousal", "rmse_valence", "mae", "num_clips"} <= set(metrics)
    pairs = pd.read_csv(tmp_path / "confusion.csv")
    assert list(pairs) == ["target", "actual", "predicted"]
    assert len(pairs) == 2 * 40


def test_files_of_several_targets(load, predictions_of, tmp_path):
    table = predictions_of(load)
    metrics = write_fold_results(table, load, tmp_path)
    assert {"weighted_f1", "weighted_f1_arousal", "uar_valence", "num_clips"} <= set(metrics)
    pairs = pd.read_csv(tmp_path / "confusion.csv")
    counts = pd.crosstab(pairs["actual"], pairs["predicted"])
    expected = confusion_matrix(table["label_valence"], table["prediction_valence"], 3)
    assert counts.loc["valence high", "valence low"] == expected[2, 0]
    assert counts.loc["valence high", "arousal low"] == 0
    assert list(pairs["target"]) == ["arousal"] * 40 + ["valence"] * 40


def test_predictions_come_back_exactly(emotions, predictions_of, tmp_path):
    """Subjects such as 010 stay text, unknown ones unknown, probabilities exact."""
    table = predictions_of(emotions)
    write_fold_results(table, emotions, tmp_path)
    back = read_predictions(tmp_path)
    assert back["subject"].isna().tolist() == table["subject"].isna().tolist()
    pd.testing.assert_frame_equal(back, table)


def test_missing_predictions_name_the_mend(tmp_path):
    with pytest.raises(ValueError, match="run the evaluate stage"):
        read_predictions(tmp_path)
