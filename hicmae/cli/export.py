"""`hicmae export`: hand a model on."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from hicmae import layout
from hicmae.cli.reader import MODEL_HELP
from hicmae.models import found_model
from hicmae.tracking.stage_runs import MODEL_FILE
from hicmae_core.files import write_text
from hicmae_core.inference.exporting import (
    ONNX_FILE,
    REFERENCE_FILE,
    TORCH_FILE,
    export_onnx,
    export_reference,
    export_torch,
)
from hicmae_core.model.artifact import load_model, save_model
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.reports.card import model_card
from hicmae_core.reports.results import CALIBRATION_NAME

EXAMPLES = """
hicmae export models/finetune/demo/1/model.safetensors --out shared
hicmae export models:/hicmae-demo@champion --format onnx --format torch --out shared
hicmae export models/pretrain/model.safetensors --format reference --out shared
"""


class Format(StrEnum):
    """What is written beside the card."""

    safetensors = "safetensors"
    onnx = "onnx"
    torch = "torch"
    reference = "reference"


def main(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to write into.")],
    format: Annotated[list[Format] | None, typer.Option(help="May be given several times.")] = None,
) -> None:
    """Write a model, and a card that says what it is, into a folder.

    Formats: safetensors (this project's), onnx, torch (torch.export), reference (the authors' .pth). The outputs of
    onnx and torch are compared with the model's before a file appears.
    """
    path = found_model(model)
    loaded, metadata = load_model(path)
    files = {}
    for kind in format or [Format.safetensors]:
        name, found = _write(kind, loaded, metadata, out)
        files[name] = found
        print(f"{out / name}: {found}")
    write_text(out / "README.md", model_card(loaded, metadata, *_evaluation(path, metadata), files))
    print(f"{out / 'README.md'}: the model's card")


def _write(kind: Format, model: Classifier | PretrainingModel, metadata: dict[str, Any], out: Path) -> tuple[str, str]:
    if kind is Format.safetensors:
        save_model(out / MODEL_FILE, model, metadata)
        return MODEL_FILE, "weights, architecture and notes, for this project"
    if kind is Format.reference:
        return REFERENCE_FILE, f"the authors' format; weights differ by {export_reference(model, out):g}"
    if not isinstance(model, Classifier):
        raise ValueError(
            f"a pre-training model draws masks and is not exported as {kind}; use safetensors or reference"
        )
    name, export = (ONNX_FILE, export_onnx) if kind is Format.onnx else (TORCH_FILE, export_torch)
    return name, f"any number of clips; outputs differ by {export(model, out):.1e} at most"


def _evaluation(
    path: Path, metadata: dict[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, pd.DataFrame | None]:
    """Results, calibration and predictions of the model's study; nothing for a model that is not this project's."""
    dataset, fold = metadata.get("dataset"), metadata.get("fold")
    ours = layout.finetune_folder(dataset, fold) / MODEL_FILE if dataset and fold else None
    if ours is None or not ours.is_file() or ours.read_bytes() != path.read_bytes():
        return None, None, None
    folder = layout.REPORTS / str(dataset)
    tables = sorted(layout.results_folder(str(dataset), 1).parent.glob("*/predictions.parquet"))
    predictions = pd.concat([pd.read_parquet(table) for table in tables], ignore_index=True) if tables else None
    return _json_in(folder / "results.json"), _json_in(folder / CALIBRATION_NAME), predictions


def _json_in(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
