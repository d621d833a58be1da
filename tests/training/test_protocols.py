"""Every task from prepared clips to a report, and what balancing does to a class that is rare."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hicmae_core.config import Params, parse_params
from hicmae_core.data.clips import ClipDataset
from hicmae_core.evaluation.fold_results import read_predictions, write_fold_results
from hicmae_core.evaluation.prediction import predict
from hicmae_core.evaluation.summary import summarise
from hicmae_core.model.artifact import load_classifier
from hicmae_core.reports.results import write_reports
from hicmae_core.training.tracker import NullTracker

from .conftest import CLASSES, NO_AUGMENTATION, PARAMS, run_finetuning

CPU = torch.device("cpu")


def trained_and_tested(params: Params, name: str, train: ClipDataset, test: ClipDataset, folder: Path) -> pd.DataFrame:
    """Predictions of a model of `train` on `test`."""
    model_path = folder / "model.safetensors"
    run_finetuning(params, name, 1, train, None, None, model_path, folder / "checkpoints", NullTracker())
    model, _ = load_classifier(model_path)
    return predict(model, test, params.dataset[name], params.evaluate, CPU)


def reported(params: Params, name: str, predictions: pd.DataFrame, folder: Path) -> tuple[dict[str, Any], str]:
    """The results record and the text of a report on one fold."""
    dataset = params.dataset[name]
    write_fold_results(predictions, dataset, folder / "1")
    summary = summarise(name, dataset, {1: read_predictions(folder / "1")}, params.summarise, params.seed)
    write_reports(summary, folder)
    return json.loads((folder / "results.json").read_text()), (folder / "results.md").read_text()


@pytest.mark.parametrize("loss", ["ccc", "pcc"])
def test_a_regression_under_each_loss(
    params: Callable[..., Params], with_targets: ClipDataset, tmp_path: Path, loss: str
) -> None:
    chosen = params(finetune={"epochs": 10, "regression_loss": loss, "augmentation": NO_AUGMENTATION})
    predictions = trained_and_tested(chosen, "toy_regression", with_targets, with_targets, tmp_path)
    record, text = reported(chosen, "toy_regression", predictions, tmp_path)
    for target in ("arousal", "valence"):
        assert record["pooled"][f"pcc_{target}"] > 0.9
        assert {f"{metric}_{target}" for metric in ("pcc", "ccc", "rmse", "mae")} <= set(record["folds"]["1"])
        assert f"| {target} | " in text


def test_several_targets(params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path) -> None:
    clips = dataclasses.replace(labelled, labels=np.stack([CLASSES, (CLASSES + 1) % 3], axis=1))
    chosen = params(
        finetune={"epochs": 10, "augmentation": NO_AUGMENTATION | {"label_smoothing": 0.1}, "class_balance": "loss"}
    )
    predictions = trained_and_tested(chosen, "toy_load", clips, clips, tmp_path)
    record, text = reported(chosen, "toy_load", predictions, tmp_path)
    assert record["pooled"]["weighted_f1_arousal"] > 0.9
    assert record["pooled"]["weighted_f1_valence"] > 0.9
    assert sum(map(sum, record["confusion_valence"])) == 24
    assert "| actual arousal | low | mid | high | recall, % |" in text


def test_several_targets_are_mixed_and_smoothed(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path
) -> None:
    clips = dataclasses.replace(labelled, labels=np.stack([CLASSES, 2 - CLASSES], axis=1))
    predictions = trained_and_tested(params(finetune={"epochs": 2}), "toy_load", clips, clips, tmp_path)
    assert predictions.filter(regex="^p_").sum(axis=1).to_numpy() == pytest.approx(np.full(24, 2.0))


@pytest.mark.parametrize(("balance", "expected"), [("none", 0.1), ("loss", 0.5), ("sampler", 0.5)])
def test_balance_lifts_a_rare_class_to_an_even_chance(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path, balance: str, expected: float
) -> None:
    """One audio under two labels, nine to one: all that can be learned is how often each is seen, or counts."""
    clips = dataclasses.replace(
        labelled, clip_ids=["clip00"] * 80, labels=np.repeat([0, 1], [72, 8]), subjects=None, modality="audio"
    )
    chosen = params(
        finetune={
            "modality": "audio", "epochs": 12, "batch_size": 40, "base_lr": 0.01, "drop_path": 0,
            "augmentation": NO_AUGMENTATION, "class_balance": balance,
        }
    )  # fmt: skip
    predictions = trained_and_tested(chosen, "toy_rare", clips, clips, tmp_path)
    assert predictions["p_rare"].mean() == pytest.approx(expected, abs=0.08)


def test_balance_needs_the_classes_of_one_target() -> None:
    for evaluated, balance, reason in (
        ("toy_regression", "loss", "regression has no classes; set it to none"),
        ("toy_load", "sampler", "all its targets at once; set it to loss"),
    ):
        values = {**PARAMS, "folds": {evaluated: [1]}}
        values["finetune"] = PARAMS["finetune"] | {"class_balance": balance}
        with pytest.raises(ValueError, match=f"class_balance {balance} does not fit `{evaluated}`: .*{reason}"):
            parse_params(values, "test")
