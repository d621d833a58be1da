"""`hicmae register`: a study's model, found by name from then on."""

from __future__ import annotations

from typing import Annotated

import typer

from hicmae.command import DatasetOption
from hicmae.layout import project_root
from hicmae.tracking.model_registry import CANDIDATE, register
from hicmae.tracking.store import MlflowStore
from hicmae_core.config import load_params

EXAMPLES = """
hicmae register --dataset demo                    # the study of params.yaml
hicmae register --dataset demo --best             # the study with the best result
hicmae register --dataset demo --study 0123456789abcdef0123456789abcdef --fold 2
"""


def main(
    dataset: DatasetOption,
    study: Annotated[
        str | None,
        typer.Option(metavar="RUN_ID", help="The run of a study in MLflow.", show_default="that of params.yaml"),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="The study with the best test result instead; the model says so.")
    ] = False,
    fold: Annotated[
        int | None, typer.Option(metavar="N", help="The fold whose model it is.", show_default="the first")
    ] = None,
) -> None:
    """Register a study's model as the candidate of its dataset, so that it is found by name, served and promoted."""
    if study and best:
        raise ValueError("--study and --best both choose the study; leave one out")
    version = register(MlflowStore(project_root()), load_params(), dataset, study, best, fold)
    print(f"models:/{version.name}/{version.version} is models:/{version.name}@{CANDIDATE}: {version.description}")
    print("next: python -m pipelines.flows.promote --dataset", dataset)
