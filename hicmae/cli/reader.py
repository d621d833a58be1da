"""From what a user calls a model to something that can be asked."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hicmae.models import found_model, params_here
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
