"""Arms against each other: pooled values, paired intervals, and the report on them."""

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import SummariseParams
from hicmae_core.evaluation.fold_results import metrics_of
from hicmae_core.evaluation.statistics import compare_arms, resampling_groups
from hicmae_core.reports.comparison import ablation_markdown, plot_ablation
from hicmae_core.reports.figures import ORANGE
from tests.drawings import areas

SETTINGS = SummariseParams(bootstrap_samples=100, confidence=0.9)


@pytest.fixture
def arms(emotions, predictions_of):
    """Predictions of three seeds: one arm guesses, the other is right three times in four."""
    truth = predictions_of(emotions, num_clips=120)
    rng = np.random.default_rng(0)
    tables = {"guessing": [], "good": []}
    for _ in range(3):
        wrong = rng.integers(4, size=len(truth))
        tables["guessing"].append(truth.assign(prediction=wrong))
        right = rng.random(len(truth)) < 0.75
        tables["good"].append(truth.assign(prediction=np.where(right, truth["label"], wrong)).sample(frac=1))
    return tables


def compared(arms, emotions, metric="uar", baseline="guessing"):
    return compare_arms(arms, baseline, metric, emotions, SETTINGS, seed=7).set_index("arm")


def test_values_are_those_of_all_seeds_together(arms, emotions):
    table = compared(arms, emotions)
    for arm, by_seed in arms.items():
        alone = [metrics_of(predictions, emotions)["uar"] for predictions in by_seed]
        assert table.loc[arm, "value"] == pytest.approx(metrics_of(pd.concat(by_seed), emotions)["uar"])
        assert table.loc[arm, "value"] == pytest.approx(np.mean(alone))  # all seeds have the same clips of each class
        assert table.loc[arm, "std"] == pytest.approx(np.std(alone, ddof=1))
        assert table.loc[arm, "low"] < table.loc[arm, "value"] < table.loc[arm, "high"]
    assert table.loc["good", "difference"] == pytest.approx(table.loc["good", "value"] - table.loc["guessing", "value"])
    assert table.loc["good", "difference_low"] > 0.2
    assert table.loc["guessing", ["difference", "difference_low"]].isna().all()


def test_the_bootstrap_is_the_naive_loop(arms, emotions):
    """Draw the same speakers and seeds, put their rows together, and compute the metric anew."""
    sorted_arms = {arm: [table.sort_values("clip_id") for table in tables] for arm, tables in arms.items()}
    groups = resampling_groups(sorted_arms["good"][0])
    num_groups = groups.max() + 1
    rng = np.random.default_rng(7)
    of_groups = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=100)
    of_seeds = rng.multinomial(3, np.full(3, 1 / 3), size=100)
    drawn = {arm: [] for arm in arms}
    for group_times, seed_times in zip(of_groups, of_seeds, strict=True):
        for arm, tables in sorted_arms.items():
            rows = [
                table.loc[table.index.repeat(times * group_times[groups])]
                for table, times in zip(tables, seed_times, strict=True)
            ]
            drawn[arm].append(metrics_of(pd.concat(rows), emotions)["uar"])
    table = compared(arms, emotions)
    for arm in arms:
        assert tuple(table.loc[arm, ["low", "high"]]) == pytest.approx(tuple(np.quantile(drawn[arm], [0.05, 0.95])))
    differences = np.array(drawn["good"]) - np.array(drawn["guessing"])
    ends = tuple(table.loc["good", ["difference_low", "difference_high"]])
    assert ends == pytest.approx(tuple(np.quantile(differences, [0.05, 0.95])))


def test_equal_arms_differ_by_nothing_however_wide_their_intervals(arms, emotions):
    table = compared({"guessing": arms["guessing"], "the same": arms["guessing"]}, emotions)
    assert table.loc["guessing", "high"] - table.loc["guessing", "low"] > 0.05
    assert tuple(table.loc["the same", ["difference", "difference_low", "difference_high"]]) == (0, 0, 0)


def test_a_single_speaker_or_seed_claims_nothing_about_others(arms, emotions):
    alone = {arm: [table.assign(subject="one") for table in tables] for arm, tables in arms.items()}
    assert compared(alone, emotions)[["low", "high", "difference_low"]].isna().all(axis=None)
    once = {arm: tables[:1] for arm, tables in arms.items()}
    assert compared(once, emotions)["std"].isna().all()


def test_arms_that_cannot_be_paired_are_refused(arms, emotions):
    with pytest.raises(ValueError, match="good has 2 seeds, guessing has 3"):
        compared({**arms, "good": arms["good"][:2]}, emotions)
    other = [table[table["clip_id"] != "1_5"] for table in arms["good"]]
    with pytest.raises(ValueError, match="good was not tested on the same clips as guessing"):
        compared({**arms, "good": other}, emotions)


def test_regressions_are_compared_too(affect, predictions_of):
    table = predictions_of(affect)
    worse = table.assign(output_arousal=-table["output_arousal"])
    rows = compare_arms({"a": [worse, worse], "b": [table, table]}, "a", "pcc", affect, SETTINGS, 0).set_index("arm")
    assert rows.loc["b", "value"] == pytest.approx(metrics_of(table, affect)["pcc"])
    assert rows.loc["b", "difference"] > 0.3


def test_the_report_shows_signs_and_gaps(arms, emotions, tmp_path):
    rows = compare_arms(arms, "guessing", "uar", emotions, SETTINGS, seed=7)
    table = pd.concat([rows.assign(protocol="probe"), rows.head(1).assign(protocol="all labels")])
    text = ablation_markdown("ablation", table, "uar", 0.9, ["What was run."])
    good = rows.set_index("arm").loc["good"]
    assert "What was run." in text
    assert "| | UAR, % | 90 % interval | std over seeds | less the first row | 90 % interval |" in text
    assert text.count("| guessing |") == 2
    assert f"| good | {100 * good['value']:.2f} | {100 * good['low']:.2f} … {100 * good['high']:.2f} |" in text
    assert f"| +{100 * good['difference']:.2f} | +{100 * good['difference_low']:.2f} … +" in text
    assert "| – | – |" in text
    plot_ablation(table, "uar", tmp_path / "ablation.png")
    assert areas(tmp_path / "ablation.png", ORANGE) == 1  # the interval of the last arm
