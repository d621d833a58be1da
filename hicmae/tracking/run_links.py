"""Where in MLflow the runs of stages are, those of cached stages included."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hicmae.tracking import provenance
from hicmae_core.config import Params, load_params

_PRETRAIN = "pretrain"
_OF_FOLDS = ("finetune", "evaluate")
_OF_STUDIES = ("summarise",)
_LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make mlflow` shows a store that is a file."""


@dataclass(frozen=True)
class RunLink:
    """A run in MLflow."""

    name: str
    address: str


def run_links(root: Path, stages: Iterable[str]) -> dict[str, RunLink]:
    """The runs of stages under the present parameters, by stage; stages without one are left out.

    Args:
        root: The project.
        stages: Such as ``finetune@demo-1``.

    Raises:
        ValueError: If params.yaml is not valid, or MLflow cannot be reached.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    with_runs = [stage for stage in stages if stage.partition("@")[0] in (_PRETRAIN, *_OF_FOLDS, *_OF_STUDIES)]
    if not with_runs or not (uri or (root / "mlflow.db").is_file()):
        return {}
    params = load_params(root / "params.yaml")
    from hicmae.tracking.store import MlflowStore  # MLflow takes seconds to load

    store = MlflowStore(root)
    links = {}
    for stage in with_runs:
        run = store.find(*_key(stage, params))
        if run is not None:
            page = uri.rstrip("/") if uri.startswith("http") else _LOCAL_UI
            address = f"{page}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
            links[stage] = RunLink(run.info.run_name, address)
    return links


def _key(stage: str, params: Params) -> tuple[str, str]:
    """The experiment and the key of a stage's run."""
    base, _, item = stage.partition("@")
    if base == _PRETRAIN:
        study = provenance.pretraining(params)
        return study.experiment, study.key
    dataset, _, fold = item.partition("-")
    study = provenance.cross_validation(params, dataset)
    return study.experiment, study.fold_key(int(fold)) if base in _OF_FOLDS else study.key
