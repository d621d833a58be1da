"""From what a user calls a model to something that can be asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hicmae import layout
from hicmae.tracking.stage_runs import MODEL_FILE, resolve_model
from hicmae_core.config import Params, load_params
from hicmae_core.runtime import device_named

if TYPE_CHECKING:
    from hicmae_core.inference.video import VideoReader

MODEL_HELP = "A model.safetensors or its folder, a published checkpoint, an MLflow run id, or models:/NAME@ALIAS."
FilesArgument = Annotated[
    list[str], typer.Argument(metavar="VIDEO|FOLDER|PATTERN...", help="Files, folders, or patterns in quotes.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        show_default="the project's first fold",
        help=MODEL_HELP,
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        show_default="one per core, 0 for a single file",
        help="Processes that decode and look for faces while the model works; 0 does all in this one.",
    ),
]


class Require(StrEnum):
    """What a file must have to be predicted by a model of both modalities."""

    ANY = "any"
    BOTH = "both"


RequireOption = Annotated[
    Require,
    typer.Option(
        help="What a file must have: `both` refuses one without a face, or without audio, that `any` accepts."
    ),
]


def open_reader(model: str | None, require: Require = Require.ANY) -> VideoReader:
    """A model for videos, with the settings of the project here, or its own outside a project.

    Args:
        model: As `ModelOption` says; None is the project's first fold.
        require: What a file must have.

    Raises:
        ValueError: If there is no such model.
    """
    from hicmae_core.inference.video import open_video_reader  # torch takes seconds to load

    params = params_here()
    path = found_model(model)
    device = device_named(params.compute.device if params else "auto")
    segments = params.evaluate.num_segments if params else 2
    reader = open_video_reader(path, params.faces if params else None, segments, device)
    return replace(reader, needs_both=require == Require.BOTH)


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
