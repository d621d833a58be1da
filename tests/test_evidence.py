"""What the pages say was measured follows from the predictions in docs/evidence."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import baselines, evidence
from benchmarks.readout import by_number_of_speakers, recalls
from hicmae_core.config import parse_params
from hicmae_core.evaluation.fold_results import write_fold_results
from hicmae_core.reports.figures import BLUE
from tests.conftest import ROOT
from tests.drawings import areas

RIGHT = {"scratch": [1, 1, 0, 0], "pretrained": [1, 1, 1, 0]}


def rows(arm, right, seed=0, modality="both"):
    """Two clips of each of two speakers, one class each."""
    labels = ["anger", "fear"] * 2
    other = {"anger": "fear", "fear": "anger"}
    return pd.DataFrame(
        {
            "clip_id": ["a1", "a2", "b1", "b2"],
            "subject": ["a", "a", "b", "b"],
            "fold": [1, 1, 2, 2],
            "label": labels,
            "prediction": [label if hit else other[label] for label, hit in zip(labels, right, strict=True)],
        }
    ).assign(dataset="toy", arm=arm, modality=modality, seed=seed)


def test_the_table_is_pooled_over_seeds_and_differences_are_paired(tmp_path):
    for seed in (0, 1):
        for arm, right in RIGHT.items():
            evidence.add(rows(arm, right, seed), tmp_path)
    evidence.add(rows("baseline-majority", [1, 0, 1, 0]), tmp_path)
    evidence.add(rows("scratch", [0, 0, 0, 0], modality="video"), tmp_path)
    lines = evidence.table("toy", tmp_path).splitlines()
    assert lines[0] == "| arm | seeds | face and voice | voice | face |"
    assert lines[2].startswith("| baseline-majority |  | 50.0 (50.0 to 50.0), +0.0 (-50.0 to +50.0) |")
    assert lines[3] == "| pretrained | 2 | 75.0 (50.0 to 100.0), +25.0 (+0.0 to +50.0) |  |  |"
    assert lines[4] == "| scratch | 1, 2 | 50.0 (0.0 to 100.0) |  | 0.0 (0.0 to 0.0) |"
    assert "4 clips of 2 speakers, none of whom was trained on; guessing 50.0" in lines[6]


def test_a_trained_arm_counts_with_the_seeds_that_it_shares_with_scratch(tmp_path):
    for seed, right in {0: [1, 1, 0, 0], 1: [0, 0, 0, 0]}.items():
        evidence.add(rows("scratch", right, seed), tmp_path)
    evidence.add(rows("pretrained", [1, 1, 1, 0], 0), tmp_path)
    evidence.add(rows("pretrained", [0, 0, 0, 0], 7), tmp_path)
    lines = evidence.table("toy", tmp_path).splitlines()
    assert lines[2].startswith("| pretrained | 1 | 75.0 (50.0 to 100.0), +25.0 ")
    assert lines[3].startswith("| scratch | 2 | 25.0 ")
    evidence.add(rows("other", [1, 1, 1, 1], 5), tmp_path)
    with pytest.raises(ValueError, match="other and scratch share no seed"):
        evidence.table("toy", tmp_path)


def test_without_a_reference_there_are_no_differences(tmp_path):
    evidence.add(rows("pretrained", [1, 1, 1, 0]), tmp_path)
    table = evidence.table("toy", tmp_path)
    assert "| pretrained | 1 | 75.0 (50.0 to 100.0) |" in table
    assert "difference" not in table


def test_drawn_faces_are_named_in_the_head_of_the_table(tmp_path):
    evidence.add(rows("scratch", [1, 1, 0, 0]).assign(dataset="toy_drawn"), tmp_path)
    head = evidence.table("toy_drawn", tmp_path).splitlines()[0]
    assert head == "| arm | seeds | face and voice (drawn faces) | voice | face (drawn faces) |"


def test_predictions_of_an_arm_replace_its_earlier_ones(tmp_path):
    evidence.add(rows("scratch", [0, 0, 0, 0]).assign(p_anger=0.25, p_fear=0.75), tmp_path)
    evidence.add(rows("pretrained", [1, 1, 1, 1]), tmp_path)
    evidence.add(rows("scratch", [1, 1, 1, 1]).assign(p_anger=0.5, p_fear=0.5), tmp_path)
    kept = pd.read_parquet(tmp_path / "toy.parquet")
    assert len(kept) == 8
    assert (kept["label"] == kept["prediction"]).all()
    assert kept.groupby("arm")["p_anger"].first().tolist()[1] == 0.5
    with pytest.raises(ValueError, match="missing: \\['fold'\\]"):
        evidence.add(rows("scratch", [1, 1, 1, 1]).drop(columns="fold"), tmp_path)


def test_the_predictions_of_a_project_that_has_run_are_collected(tmp_path):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values |= {"folds": {"demo": [1, 2]}, "seed": 3}
    values["finetune"]["modality"] = "audio"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    dataset = parse_params(values, "").dataset["demo"]
    for fold in (1, 2):
        predictions = pd.DataFrame(
            {"clip_id": [f"{fold}a", f"{fold}b"], "subject": f"s{fold}", "label": [0, 1], "prediction": [0, 2]}
        ).assign(p_anger=0.5)
        write_fold_results(predictions, dataset, tmp_path / f"results/demo/{fold}")
    (rows,) = evidence.collect(tmp_path, "pretrained")
    evidence.add(rows, tmp_path)
    kept = pd.read_parquet(tmp_path / "demo.parquet")
    assert kept[["arm", "modality", "seed"]].drop_duplicates().to_numpy().tolist() == [["pretrained", "audio", 3]]
    assert kept["prediction"].tolist() == ["anger", "neutral"] * 2
    assert kept["fold"].tolist() == [1, 1, 2, 2]
    (tmp_path / "results/demo/2/predictions.parquet").unlink()
    with pytest.raises(ValueError, match="run the evaluate stage of this fold first"):
        evidence.collect(tmp_path, "pretrained")


def test_a_page_is_filled_between_its_marks_alone(tmp_path):
    evidence.add(rows("scratch", [1, 1, 1, 1]), tmp_path)
    page = "before\n<!-- evidence: toy -->\nold numbers\n<!-- end -->\nafter\n"
    filled = evidence.filled(page, tmp_path)
    assert filled == evidence.filled(filled, tmp_path)
    assert "old numbers" not in filled
    assert "| scratch | 1 | 100.0" in filled
    assert (filled.split("\n")[0], filled.split("\n")[-2]) == ("before", "after")
    evidence.add(rows("scratch", [1, 1, 0, 0]), tmp_path)
    some = evidence.filled(page.replace("toy", "toy speakers b"), tmp_path)
    assert "| scratch | 1 | 0.0 " in some
    assert "2 clips of 1 speakers" in some
    evidence.add(rows("pretrained", [1, 1, 1, 0]), tmp_path)
    evidence.add(rows("baseline-svm", [1, 1, 1, 0]), tmp_path)
    two = evidence.filled(page.replace("toy", "toy arms scratch baseline-svm"), tmp_path)
    assert [line.split(" | ")[0] for line in two.splitlines()[4:7]] == ["| scratch", "| baseline-svm", ""]
    with pytest.raises(ValueError, match="toy has no arm scrach; there are: baseline-svm, pretrained, scratch"):
        evidence.filled(page.replace("toy", "toy arms scrach"), tmp_path)


def test_readme_and_docs_show_what_follows_from_the_evidence():
    assert evidence.pages()
    evidence.main(check=True)  # or it ends with an exit code


def test_a_project_that_has_not_run_is_told_in_a_sentence(tmp_path):
    command = [sys.executable, "-m", "benchmarks.evidence", "--collect", str(tmp_path), "--arm", "scratch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path}/params.yaml: no such file; run from the project's "
                                                 "root, where params.yaml is\n")  # fmt: skip


def test_baselines_see_nothing_of_the_test_clips():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    params = parse_params(values, "")
    rng = np.random.default_rng(0)
    speakers, labels = np.repeat(np.arange(1, 5), 12), np.tile(np.arange(4), 12)
    manifest = pd.DataFrame(
        {
            "clip_id": [f"c{place:02}" for place in range(48)],
            "subject": [f"s{speaker}" for speaker in speakers],
            "unit": [f"c{place:02}" for place in range(48)],
            "test_fold": speakers,
            "label": labels,
            "label_name": [params.dataset["demo"].classes[label] for label in labels],
        }
    )
    features = (np.eye(4)[labels] + 0.1 * rng.normal(size=(48, 4))).astype(np.float32)

    def found(of_test):
        shown = features.copy()
        shown[1:12] = of_test
        parts = {"audio": (baselines.svm(0.1), shown), "video": (baselines.ridge, shown)}
        return pd.concat(baselines._of_fold(manifest, "demo", 1, "baseline-toy", parts, params))

    right = found(features[1:12])
    assert (right["label"] == right["prediction"]).all()
    assert right["modality"].tolist() == ["audio"] * 12 + ["video"] * 12 + ["both"] * 12
    other = found(1e6)  # one clip's answer is the same whatever clips are tested beside it
    assert other.groupby("modality")["prediction"].first().equals(right.groupby("modality")["prediction"].first())


def test_statistics_of_pictures_are_means_deviations_and_differences():
    still, flicker = np.full((3, 64, 64), 51, np.uint8), np.zeros((3, 64, 64), np.uint8)
    flicker[1] = 255
    found = baselines.picture_statistics([still, flicker])
    mean, deviation, difference = np.split(found, 3, axis=1)
    np.testing.assert_allclose(mean, np.array([[0.2], [1 / 3]]) * np.ones_like(mean), atol=1e-6)
    np.testing.assert_allclose(deviation, np.array([[0], [np.std([0, 1, 0])]]) * np.ones_like(mean), atol=1e-6)
    np.testing.assert_allclose(difference, np.array([[0], [1]]) * np.ones_like(mean), atol=1e-6)
    assert baselines.hog_statistics([still]).shape == (1, 3 * 7 * 7 * 2 * 2 * 8)


@pytest.mark.parametrize("path", sorted(evidence.FOLDER.glob("*.parquet")), ids=lambda path: path.stem)
def test_the_evidence_is_whole(path):
    kept = pd.read_parquet(path)
    assert set(kept["dataset"]) == {path.stem}
    assert not kept.duplicated(["arm", "modality", "seed", "clip_id"]).any()
    assert set(kept["prediction"]) <= set(kept["label"])
    per_arm = kept.groupby(["arm", "modality", "seed"])["clip_id"].agg(["size", "nunique"])
    assert (per_arm == kept["clip_id"].nunique()).all(axis=None)
    of_clip = kept.groupby("clip_id")[["label", "subject", "fold"]].nunique()
    assert (of_clip == 1).all(axis=None)
    assert path.stat().st_size < 1e6


def test_what_a_study_found_is_added(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path / "evidence")
    found = pd.concat([rows(arm, right).assign(protocol="both") for arm, right in RIGHT.items()])
    found.to_parquet(tmp_path / "study.parquet")
    with pytest.raises(ValueError, match=r"none.parquet: no such file; `make study` writes it"):
        evidence.main(study=tmp_path / "none.parquet")
    evidence.main(study=tmp_path / "study.parquet", check=True)
    assert "| pretrained | 1 | 75.0 (50.0 to 100.0), +25.0 " in evidence.table("toy", tmp_path / "evidence")


def test_more_speakers_teach_more():
    """Each speaker shifts the features; with few to learn from, that hides the class."""
    rng = np.random.default_rng(0)
    labels, speakers = np.tile([0, 1], 60), np.repeat([f"s{number}" for number in range(6)], 20)
    shifts = np.repeat(rng.normal(size=(6, 8)), 20, axis=0)
    features = (labels[:, None] * 0.5 + shifts + rng.normal(size=(120, 8))).astype(np.float32)
    found = by_number_of_speakers(features, labels.tolist(), speakers.tolist(), seed=0)
    assert [*found] == [2, 3, 4, 5]
    assert found[5] > found[2] + 0.05
    assert found[5] == pytest.approx(recalls(features, labels.tolist(), speakers.tolist())[1])


def test_the_tables_are_drawn(tmp_path):
    evidence.draw("javanese", images=tmp_path)
    assert areas(tmp_path / "evidence-javanese.png", BLUE) > 20
