"""A model as a folder that MLflow loads and serves: weights, code, signature, example and pinned packages."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from hicmae_core.model.artifact import load_classifier
from stages import served_model

_CODE = Path(__file__).resolve().parents[1]
_STAGES_CODE = ("__init__.py", "environment.py", "served_model.py")


def write_pyfunc(
    folder: Path, weights: Path, num_segments: int, model_id: str, run_id: str, metadata: Mapping[str, str]
) -> None:
    """Write the folder; nothing in it is a pickle.

    Args:
        folder: Made by this.
        weights: A fine-tuned ``model.safetensors``.
        num_segments: Windows averaged for a clip's answer.
        model_id: What MLflow calls the model.
        run_id: The run that trained it.
        metadata: Noted in ``MLmodel``.

    Raises:
        ValueError: If `weights` are not a classifier's.
    """
    _, trained = load_classifier(weights)
    logging.getLogger("mlflow.models.model").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as beside:
        stages = Path(beside) / "stages"
        stages.mkdir()
        for name in _STAGES_CODE:
            shutil.copy(_CODE / "stages" / name, stages)
        pyfunc.save_model(
            folder,
            loader_module=served_model.__name__,
            data_path=str(weights),
            code_paths=[str(_CODE / "hicmae_core"), str(stages)],
            mlflow_model=Model(run_id=run_id, model_id=model_id, metadata=dict(metadata)),
            pip_requirements=pinned_requirements(),
            signature=signature(tuple(trained["targets"]), tuple(trained["classes"])),
            input_example=pd.DataFrame({served_model.VIDEO_COLUMN: ["interview.mp4"]}),
            model_config={"num_segments": num_segments, "device": "auto"},
        )


def signature(targets: tuple[str, ...], classes: tuple[str, ...]) -> ModelSignature:
    """The columns that go in and come out."""
    taken = [ColSpec(DataType.string, name, required=False) for name in served_model.INPUT_COLUMNS]
    columns = served_model.output_columns(targets, classes)
    kinds = dict.fromkeys(served_model.TEXT_COLUMNS, DataType.string) | {"calibrated": DataType.boolean}
    return ModelSignature(Schema(taken), Schema([ColSpec(kinds.get(name, DataType.double), name) for name in columns]))


def pinned_requirements() -> list[str]:
    """What the library and the reading of videos need, in the versions that are installed here."""
    project = tomllib.loads((_CODE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["media"], "mlflow"]
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in wanted]
    pinned = []
    for name in names:
        try:
            pinned.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            raise ValueError(f"{name} is not installed, so the model's environment cannot be pinned") from None
    return sorted(pinned)
