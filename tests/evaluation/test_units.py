"""Clips are predicted, units are scored: four units of three clips, of two people, computed by hand.

| unit | label | person | p(a) of its clips | by clip | mean p(a) | by unit |
|---|---|---|---|---|---|---|
| u1 | a | s1 | .93 .45 .45 | a b b | .61 | a |
| u2 | b | s1 | .20 .55 .55 | b a a | .43 | b |
| u3 | a | s2 | .60 .60 .10 | a a b | .43 | b |
| u4 | b | s2 | .10 .20 .33 | b b b | .21 | b |
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import log_softmax

from hicmae_core.config import DatasetParams, EvaluateParams, SummariseParams
from hicmae_core.evaluation.calibration import PLAIN, SCALED
from hicmae_core.evaluation.fold_results import by_unit, metrics_of, plot_rows, read_predictions, write_fold_results
from hicmae_core.evaluation.prediction import predict
from hicmae_core.evaluation.statistics import compare_arms, group_sums, paired_difference, resampling_groups
from hicmae_core.evaluation.summary import summarise
from hicmae_core.reports.figures import plot_predictions
from hicmae_core.reports.markdown import overview_markdown, short_markdown
from hicmae_core.reports.results import results_record, write_calibration, write_reports
from tests.evaluation.test_prediction import clips, model_with  # noqa: F401

DATASET = DatasetParams(corpus="csv", classes=("a", "b"), num_folds=1)
SETTINGS = SummariseParams(bootstrap_samples=400)
P_A = {"u1": (0.93, 0.45, 0.45), "u2": (0.2, 0.55, 0.55), "u3": (0.6, 0.6, 0.1), "u4": (0.1, 0.2, 0.33)}
BY_UNIT = {"uar": 3 / 4, "war": 3 / 4, "weighted_f1": (2 / 3 + 4 / 5) / 2, "macro_f1": (2 / 3 + 4 / 5) / 2}
BY_CLIP = {"uar": 7 / 12, "war": 7 / 12, "weighted_f1": (6 / 11 + 8 / 13) / 2, "macro_f1": (6 / 11 + 8 / 13) / 2}


def table(p_a=P_A) -> pd.DataFrame:
    """Clips of the units in turn, so that a unit's clips are not side by side."""
    rows = [
        {
            "clip_id": f"{unit}_{take}",
            "subject": "s1" if unit in ("u1", "u2") else "s2",
            "unit": unit,
            "modality": "both",
            "shown": "both",
            "label": "ab".index("ab"[unit in ("u2", "u4")]),
            "prediction": int(p_a[unit][take] < 0.5),
            "p_a": p_a[unit][take],
            "p_b": 1 - p_a[unit][take],
        }
        for take in range(3)
        for unit in p_a
    ]
    return pd.DataFrame(rows)


def alone(predictions: pd.DataFrame) -> pd.DataFrame:
    """The same clips, each its own unit."""
    return predictions.assign(unit=predictions["clip_id"])


def test_a_fold_is_scored_by_unit_and_keeps_a_row_per_clip(tmp_path):
    metrics = write_fold_results(table(), DATASET, tmp_path)
    assert metrics == pytest.approx({**BY_UNIT, "num_clips": 12, "num_units": 4, "num_subjects": 2})
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    pd.testing.assert_frame_equal(read_predictions(tmp_path), table(), check_dtype=False)
    confusion = pd.read_csv(tmp_path / "confusion.csv")
    assert confusion.to_dict("list") == {"actual": ["a", "b", "a", "b"], "predicted": ["a", "b", "b", "b"]}
    assert metrics_of(alone(table()), DATASET) == pytest.approx(BY_CLIP)


def test_the_results_are_of_units_and_say_so(tmp_path):
    summary = summarise("mine", DATASET, {1: table()}, SETTINGS, seed=0)
    write_reports(summary, tmp_path)
    record = json.loads((tmp_path / "results.json").read_text())
    assert (record["unit"], record["num_units"], record["num_clips"]) == ("named by the column `unit`", 4, 12)
    assert (record["units_by_fold"], record["clips_by_fold"], record["num_subjects"]) == ({"1": 4}, {"1": 12}, 2)
    for row in (record["folds"]["1"], record["mean"], record["pooled"]):
        assert row == pytest.approx(BY_UNIT)
    assert record["confusion"] == [[1, 1], [0, 2]]
    assert json.loads((tmp_path / "metrics.json").read_text())["pooled"] == pytest.approx(BY_UNIT)
    assert len(pd.read_csv(tmp_path / "confusion.csv")) == 4
    text = (tmp_path / "results.md").read_text()
    assert "4 units (named by the column `unit`) of 12 test clips of 2 known subjects in 1 of 1 folds; " in text
    assert "each unit was scored once: the probabilities of its clips are averaged" in text
    assert "|  | units | UAR |" in text
    assert "| pooled | 4 | 75.00 | 75.00 | 73.33 | 73.33 |" in text
    assert "Pooled test units: rows are actual classes" in text
    assert "bootstrap resamples of subjects (of units, where the subject is unknown)" in text
    assert "4 units (named by" in short_markdown(record)
    assert "| 1 of 1 | 4 units |" in overview_markdown([record])


def test_avcaffe_s_units_have_a_name_and_its_two_headed_model_no_published_number(load, predictions_of, tmp_path):
    levels = {"corpus": "avcaffe", "labels": "arousal", "classes": tuple("abcde")}
    rows = table().assign(p_c=0.0, p_d=0.0, p_e=0.0)
    record = results_record(
        summarise("avcaffe_arousal", DATASET.model_copy(update=levels), {1: rows}, SETTINGS, seed=0)
    )
    assert record["unit"] == "participant x task"
    assert record["published"][0]["percent"] == {"weighted_f1": 43.18}
    both = load.model_copy(update={"corpus": "avcaffe"})
    write_reports(summarise("avcaffe", both, {1: predictions_of(load)}, SETTINGS, seed=0), tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert "a model with a head for both is another measurement: train `avcaffe_arousal`" in text
    assert "HiCMAE-B" not in text


@pytest.mark.parametrize("kind", ["emotions", "load", "affect"])
def test_where_clips_are_the_units_nothing_changes_to_the_bit(kind, request, predictions_of):
    dataset = request.getfixturevalue(kind)
    before = {fold: predictions_of(dataset, fold).drop(columns="unit", errors="ignore") for fold in (1, 2)}
    after = {fold: alone(rows) for fold, rows in before.items()}
    records = [results_record(summarise("demo", dataset, folds, SETTINGS, seed=0)) for folds in (before, after)]
    assert records[0] == records[1]
    assert records[0]["unit"] == "clip"
    assert records[0]["num_units"] == records[0]["num_clips"] == 80


def test_people_are_drawn_not_units():
    """Two people give three samples: one twice, the other twice, or each once."""
    summary = summarise("mine", DATASET, {1: table()}, SETTINGS, seed=0)
    assert group_sums(table(), DATASET).sums.shape[0] == 2
    assert summary.intervals["uar"] == (0.5, 1.0)
    unknown = by_unit(table().assign(subject=None), DATASET)
    assert resampling_groups(unknown).tolist() == [0, 1, 2, 3]
    assert group_sums(table().assign(subject=None), DATASET).sums.shape[0] == 4


def test_values_are_averaged(affect):
    rows = pd.DataFrame({"clip_id": list("1234"), "subject": list("sstt"), "unit": list("uuvv")})
    rows = rows.assign(target_arousal=[1, 1, 3, 3], output_arousal=[0, 4, 1, 3])
    rows = rows.assign(target_valence=[1.0, 1, 2, 2], output_valence=[1.0, 1, 2, 2])
    metrics = metrics_of(rows, affect)
    assert metrics["mae_arousal"] == (1 + 1) / 2  # 2 for 1, 2 for 3; by clip it is 1.75
    assert metrics["rmse_valence"] == 0
    assert plot_rows(rows, affect)["predicted"].tolist() == [2, 2, 1, 2]


def test_each_of_several_targets_is_averaged(load, predictions_of):
    rows = predictions_of(load).assign(unit=lambda rows: rows["clip_id"].str[:-1])
    for name in load.targets:  # what a unit's clips share
        rows[f"label_{name}"] = rows.groupby("unit")[f"label_{name}"].transform("first")
    expected = rows.groupby("unit", sort=False).mean(numeric_only=True)
    pooled = by_unit(rows, load)
    for name in load.targets:
        columns = [f"p_{name}_{level}" for level in load.classes]
        np.testing.assert_allclose(pooled[columns], expected[columns])
        assert pooled[f"prediction_{name}"].tolist() == expected[columns].to_numpy().argmax(axis=1).tolist()


def test_a_unit_tested_in_two_folds_is_refused():
    parts = {1: table().iloc[:6], 2: table().iloc[6:]}
    with pytest.raises(ValueError, match="mine: 4 units were tested in more than one fold, such as u3"):
        summarise("mine", DATASET, parts, SETTINGS, seed=0)


def test_calibration_is_of_units_and_scales_each_clip(tmp_path):
    rows = table().assign(fold=1)
    record = write_calibration(rows, DATASET, tmp_path)["classes"]
    assert (record["num_clips"], record["num_units"]) == (12, 4)
    gaps = [1 - 0.61, 2 * (0.85 / 1.5 - 0.5), 1 - 0.79]  # u1; u2 and u3, of which one is right; u4
    assert record[PLAIN]["expected_calibration_error"] == pytest.approx(sum(gaps) / 4)
    scaled = write_calibration(rows.assign(temperature=0.5), DATASET, tmp_path)["classes"][SCALED]
    p_a = {unit: np.exp(log_softmax(np.log([[p, 1 - p] for p in ps]) / 0.5, axis=1))[:, 0] for unit, ps in P_A.items()}
    right = [p_a["u1"].mean(), 1 - p_a["u2"].mean(), p_a["u3"].mean(), 1 - p_a["u4"].mean()]
    assert scaled["negative_log_likelihood"] == pytest.approx(-np.log(right).mean())


def test_two_models_are_compared_by_unit():
    """The second is right about five more clips, and about the same units."""
    better = table({**P_A, "u1": (0.93, 0.55, 0.55), "u2": (0.2, 0.45, 0.45)})
    by_clip = paired_difference(alone(better), alone(table()), DATASET, "war", 100, 0.9, np.random.default_rng(0))
    assert by_clip.value == pytest.approx(4 / 12)
    found = paired_difference(better, table(), DATASET, "war", 100, 0.9, np.random.default_rng(0))
    assert (found.value, found.interval) == (0, (0, 0))
    with pytest.raises(ValueError, match="differ in `unit`"):
        paired_difference(table(), alone(table()), DATASET, "war", 100, 0.9, np.random.default_rng(0))


def test_arms_are_compared_by_unit():
    better = table({**P_A, "u3": (0.6, 0.6, 0.4)})
    arms = {"first": [table(), table()], "second": [better.sample(frac=1, random_state=0), better]}
    found = compare_arms(arms, "first", "weighted_f1", DATASET, SETTINGS, seed=0).set_index("arm")
    assert found.loc["first", "value"] == pytest.approx(BY_UNIT["weighted_f1"])
    assert found.loc["second", "difference"] == pytest.approx(1 - BY_UNIT["weighted_f1"])
    with pytest.raises(ValueError, match="second was not scored by the same units as first"):
        compare_arms({"first": [table()], "second": [alone(table())]}, "first", "uar", DATASET, SETTINGS, seed=0)


def test_the_confusion_matrix_is_drawn_of_units(tmp_path):
    for name, rows in (("units", table()), ("pooled", by_unit(table(), DATASET)), ("clips", alone(table()))):
        plot_predictions(rows, DATASET, tmp_path / f"{name}.png")
    units, pooled, clips_drawn = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("units", "pooled", "clips"))
    np.testing.assert_array_equal(units, pooled)
    assert units.shape != clips_drawn.shape or (units != clips_drawn).any()


def test_predictions_carry_units_to_the_results(clips, tmp_path):  # noqa: F811
    """Seven real clips in three units, through predict, the fold's files and the report."""
    names = ["u", "v", "u", "w", "v", "u", "w"]
    labels = np.array([0, 1, 0, 0, 1, 0, 0])
    in_units = dataclasses.replace(clips, units=names, labels=labels, subjects=["s", "t", "s", "t", "t", "s", "t"])
    dataset = DatasetParams(corpus="csv", classes=("a", "b", "c", "d"), num_folds=1)
    settings = EvaluateParams(num_segments=2, batch_size=3)
    rows = predict(model_with(4), in_units, dataset, settings, torch.device("cpu"))
    assert rows["unit"].tolist() == names
    metrics = write_fold_results(rows, dataset, tmp_path)
    expected = rows.groupby("unit")[[f"p_{name}" for name in dataset.classes]].mean().to_numpy().argmax(axis=1)
    assert metrics["war"] == pytest.approx(np.mean(expected == [0, 1, 0]))
    assert (metrics["num_units"], metrics["num_clips"]) == (3, 7)
    record = results_record(summarise("mine", dataset, {1: read_predictions(tmp_path)}, SETTINGS, seed=0))
    assert record["pooled"]["war"] == metrics["war"]
    assert record["num_units"] == 3
    assert predict(model_with(4), clips, dataset, settings, torch.device("cpu"))["unit"].tolist() == list(
        clips.clip_ids
    )
