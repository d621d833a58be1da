"""Which model a user means, and with which settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hicmae import layout
from hicmae.tracking.stage_runs import MODEL_FILE, resolve_model
from hicmae_core.config import Params, load_params


def num_processes_for(files: Sequence[Path], wanted: int | None) -> int:
    """Processes that read these files."""
    cores = len(os.sched_getaffinity(0))
    return (0 if len(files) == 1 else min(cores, len(files))) if wanted is None else wanted


def params_here() -> Params | None:
    """The parameters of the project that this is the root of; None elsewhere.

    Raises:
        ValueError: As `load_params`.
    """
    return load_params() if Path("params.yaml").is_file() else None


def found_model(model: str | None) -> Path:
    """The model's file.

    Raises:
        ValueError: If there is none.
    """
    if model is None:
        return _first_model()
    if Path(model).is_dir():
        in_folder = Path(model) / MODEL_FILE  # as `hicmae export` leaves it
        if not in_folder.is_file():
            raise ValueError(f"{model}: a folder without {MODEL_FILE}; name the file of the model")
        return in_folder
    return resolve_model(model)


def _first_model() -> Path:
    params = params_here()
    if params is None:
        raise ValueError("which model? There is no params.yaml here; name a model with --model")
    if not params.folds:
        raise ValueError("params.yaml evaluates no dataset; name a model with --model")
    dataset, folds = next(iter(params.folds.items()))
    path = layout.finetune_folder(dataset, folds[0]) / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"{path}: no model there yet; run `make demo`, or name one with --model")
    print(f"model: {path}", file=sys.stderr)
    return path
