"""`hicmae calibrate`: whether a dataset's probabilities can be believed, and what the temperature fixes."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
import typer

from hicmae import layout
from hicmae_core.config import load_params
from hicmae_core.evaluation.calibration import PLAIN, SCALED
from hicmae_core.evaluation.fold_results import read_predictions
from hicmae_core.reports.results import RELIABILITY_NAME, write_calibration

EXAMPLES = """
hicmae calibrate demo
"""


def main(dataset: Annotated[str, typer.Argument(help="A dataset of params.yaml.", show_default=False)]) -> None:
    """Compare the probabilities of a dataset's test clips with how often they are right.

    If speakers were held out to choose the epoch (finetune.selection: validation), each fold's model has a temperature
    that was fitted on their clips; without them there is none, because the test clips must not be fitted. Writes
    reliability.png and calibration.json into reports/DATASET, as the stage summarise does.
    """
    params = load_params()
    folds = params.folds_of(dataset)
    chosen = params.dataset[dataset]
    if chosen.task == "regression":
        raise ValueError(f"{dataset}: a regression has no probabilities to calibrate")
    tables = {fold: read_predictions(layout.results_folder(dataset, fold)).assign(fold=fold) for fold in folds}
    out_dir = layout.REPORTS / dataset
    record = write_calibration(pd.concat(list(tables.values()), ignore_index=True), chosen, out_dir)
    for name, numbers in record.items():
        for title in (title for title in (PLAIN, SCALED) if title in numbers):
            ece, nll = (numbers[title][key] for key in ("expected_calibration_error", "negative_log_likelihood"))
            print(f"{name}, {title}: expected calibration error {100 * ece:.1f} %, negative log-likelihood {nll:.3f}")
        risks = ", ".join(f"{100 * risk:.1f} % of {share}" for share, risk in numbers["risk_at_coverage"].items())
        print(f"{name}, wrong among the surest: {risks}")
        temperatures = numbers["temperature_by_fold"]
        if temperatures:
            print(f"{name}, temperatures: " + ", ".join(f"fold {fold} {t:.2f}" for fold, t in temperatures.items()))
    if not all(numbers["temperature_by_fold"] for numbers in record.values()):
        print("no temperature: no speakers were held out to fit it on; finetune.selection: validation holds some out")
    print(out_dir / RELIABILITY_NAME)
