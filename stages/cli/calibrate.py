"""`hicmae calibrate`: whether a dataset's probabilities can be believed, and the temperature that mends them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from hicmae_core.config import Params, load_params
from hicmae_core.data.folds import split
from hicmae_core.devices import device_named
from hicmae_core.evaluation.calibration import Target, fit_temperature, joined, plot_reliability, targets_of
from hicmae_core.evaluation.fold_results import read_predictions
from hicmae_core.evaluation.prediction import predict, shown_modality
from hicmae_core.files import write_json
from hicmae_core.model.artifact import load_classifier
from stages import layout
from stages.clips import PreparedDataset

EXAMPLES = """
hicmae calibrate demo
"""


def main(dataset: Annotated[str, typer.Argument(help="A dataset of params.yaml.", show_default=False)]) -> None:
    """Compare the probabilities of a dataset's test clips with how often they are right.

    If speakers were held out to choose the epoch (finetune.selection: validation), a temperature per fold is fitted on
    their clips; without them there is none, because the test clips must not be fitted. Writes reliability.png and
    calibration.json into reports/DATASET; the predictions stay as they are.
    """
    params = load_params()
    prepared = PreparedDataset(params, dataset)
    tested = {
        fold: targets_of(read_predictions(layout.results_folder(dataset, fold)), prepared.dataset)
        for fold in params.folds
    }
    temperatures = {fold: _temperatures(params, dataset, fold, prepared) for fold in params.folds}
    fitted = all(temperatures.values())
    curves, record = {}, {}
    for name in tested[params.folds[0]]:
        plain = joined([tested[fold][name] for fold in params.folds])
        versions = {"as predicted": plain}
        if fitted:
            versions["with each fold's temperature"] = joined(
                [tested[fold][name].scaled(temperatures[fold][name]) for fold in params.folds]
            )
        curves[name] = {title: target.reliability for title, target in versions.items()}
        record[name or "classes"] = {
            "num_clips": len(plain.labels),
            "temperature_by_fold": {str(f): t[name] for f, t in temperatures.items()} if fitted else None,
            **{title: _numbers(target) for title, target in versions.items()},
        }
    out_dir = layout.REPORTS / dataset
    plot_reliability(curves, out_dir / "reliability.png")
    write_json(out_dir / "calibration.json", record)
    for name, numbers in record.items():
        for title in curves[name if name in curves else ""]:
            ece, nll = numbers[title]["expected_calibration_error"], numbers[title]["negative_log_likelihood"]
            print(f"{name}, {title}: expected calibration error {100 * ece:.1f} %, negative log-likelihood {nll:.3f}")
    if not fitted:
        print("no temperature: no speakers were held out to fit it on; finetune.selection: validation holds some out")
    print(out_dir / "reliability.png")


def _numbers(target: Target) -> dict[str, float]:
    return {
        "expected_calibration_error": target.reliability.expected_error,
        "negative_log_likelihood": target.negative_log_likelihood,
    }


def _temperatures(params: Params, dataset: str, fold: int, prepared: PreparedDataset) -> dict[str, float]:
    """By target, fitted on the fold's validation speakers; empty if it has none."""
    model, metadata = load_classifier(layout.finetune_folder(dataset, fold) / "model.safetensors")
    if metadata["selection"] != "validation":
        return {}
    _check_trained_so(f"finetune@{dataset}-{fold}")
    chosen = params.finetune
    parts = split(prepared.manifest, fold, prepared.dataset, "validation", chosen.validation_fraction, params.seed)
    assert parts.validation is not None
    shown = shown_modality(model.architecture.modality, params.evaluate.modality)
    clips = prepared.clips(parts.validation, shown)
    device = device_named(params.compute.device)
    table = predict(model, clips, prepared.dataset, params.evaluate, device, params.compute.num_workers)
    return {name: fit_temperature(target) for name, target in targets_of(table, prepared.dataset).items()}


def _check_trained_so(stage: str) -> None:
    """Under other parameters other speakers would have been held out, and some of today's learned from."""
    lock, params = Path("dvc.lock"), yaml.safe_load(Path("params.yaml").read_text())
    stages = yaml.safe_load(lock.read_text())["stages"] if lock.is_file() else {}
    trained = stages.get(stage, {}).get("params", {}).get("params.yaml", {})
    if any(trained.get(key) != params.get(key) for key in ("seed", "finetune")):
        raise ValueError(f"params.yaml is not what {stage} was trained with; run `dvc repro` first")
