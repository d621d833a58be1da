"""`hicmae map`: what a model makes of a dataset's clips, as an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from hicmae import layout
from hicmae.prepared import PreparedDataset
from hicmae_core.config import DatasetParams, load_params
from hicmae_core.evaluation.embedding import features_of, lay_out
from hicmae_core.model.artifact import load_classifier
from hicmae_core.reports.figures import Layout, plot_layouts
from hicmae_core.runtime import device_named
from hicmae_core.store.folds import test_clips

EXAMPLES = """
hicmae map demo
hicmae map demo --fold 2 --all-clips --out features.png
"""


def main(
    dataset: Annotated[str, typer.Argument(help="A dataset of params.yaml.", show_default=False)],
    fold: Annotated[int, typer.Option(help="Whose model.", show_default="the first one")] = 0,
    model: Annotated[Path | None, typer.Option(help="Another model.safetensors.", show_default="the fold's")] = None,
    all_clips: Annotated[bool, typer.Option(help="Also the clips that it learned from.")] = False,
    out: Annotated[Path | None, typer.Option(help="PNG to write.", show_default="reports/DATASET/features.png")] = None,
) -> None:
    """Lay a model's features of a dataset's clips out in the plane (t-SNE), coloured by label and by speaker."""
    params = load_params()
    prepared = PreparedDataset(params, dataset)
    fold = fold or params.folds_of(dataset)[0]
    classifier, _ = load_classifier(model or layout.finetune_folder(dataset, fold) / "model.safetensors")
    chosen = list(prepared.manifest["clip_id"]) if all_clips else test_clips(prepared.manifest, fold)
    rows = prepared.manifest.set_index("clip_id").loc[chosen]
    groups = _labels(rows, prepared.dataset) | {"speaker": rows["subject"].fillna("unknown").tolist()}
    features = features_of(classifier.to(device_named(params.compute.device)), prepared.clips(chosen))
    path = out or layout.REPORTS / dataset / "features.png"
    what = "all clips" if all_clips else f"test clips of fold {fold}"
    plot_layouts({what: Layout(lay_out(features), groups)}, path)
    print(f"{path}: {len(chosen)} clips, features of {features.shape[1]} numbers")


def _labels(rows: pd.DataFrame, dataset: DatasetParams) -> dict[str, list[str]]:
    """The clips' labels as names, by what is named; values of a regression by thirds of the clips."""
    if dataset.task == "classification":
        return {"class": [dataset.classes[label] for label in rows["label"]]}
    if dataset.task == "regression":
        thirds = [f"{number} {third}" for number, third in enumerate(("lowest", "middle", "highest"), start=1)]
        ranks = {name: rows[f"target_{name}"].rank(method="first") for name in dataset.targets}
        return {name: pd.qcut(rank, 3, labels=thirds).astype(str).tolist() for name, rank in ranks.items()}
    return {name: [dataset.classes[label] for label in rows[f"target_{name}"]] for name in dataset.targets}
