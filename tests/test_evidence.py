"""What the pages say was measured follows from the predictions in docs/evidence."""

import pandas as pd
import pytest
import yaml

from benchmarks import evidence
from hicmae_core.config import parse_params
from hicmae_core.evaluation.fold_results import write_fold_results
from tests.conftest import ROOT

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
    assert lines[0] == "| arm | face and voice | voice | face |"
    assert lines[2].startswith("| baseline-majority | 50.0 (50.0 to 50.0), +0.0 (-50.0 to +50.0) |")
    assert lines[3] == "| pretrained | 75.0 (50.0 to 100.0), +25.0 (+0.0 to +50.0) |  |  |"
    assert lines[4] == "| scratch | 50.0 (0.0 to 100.0) |  | 0.0 (0.0 to 0.0) |"
    assert "4 clips of 2 speakers, none of whom was trained on, 2 training seeds; guessing 50.0" in lines[6]


def test_drawn_faces_are_named_in_the_head_of_the_table(tmp_path):
    evidence.add(rows("scratch", [1, 1, 0, 0]).assign(dataset="toy_drawn"), tmp_path)
    head = evidence.table("toy_drawn", tmp_path).splitlines()[0]
    assert head == "| arm | face and voice (drawn faces) | voice | face (drawn faces) |"


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
    assert "| scratch | 100.0" in filled
    assert (filled.split("\n")[0], filled.split("\n")[-2]) == ("before", "after")


def test_readme_and_docs_show_what_follows_from_the_evidence():
    assert evidence.pages()
    assert evidence.main(["--check"]) == 0


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
