"""MLflow's model registry: versions of a model, their aliases and files, and a model as a folder that MLflow serves."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pandas as pd
from mlflow import pyfunc
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModelOutput, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from packaging.requirements import Requirement

import hicmae
import hicmae_core
from hicmae.tracking import served_model
from hicmae.tracking.stage_runs import MODEL_FILE
from hicmae.tracking.store import MlflowStore
from hicmae_core.model.artifact import load_classifier

_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")

_PACKAGE = Path(hicmae.__file__).parent
_CODE = ("__init__.py", "environment.py", "tracking/__init__.py", "tracking/served_model.py")
"""All of this package that a served model needs."""


class ModelStore:
    """The registered models of an MLflow store."""

    def __init__(self, store: MlflowStore) -> None:
        self.runs = store
        self.client = store.client

    def find(self, reference: str) -> ModelVersion:
        """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` means.

        Raises:
            ValueError: If it is written in another way, or there is none; names what there is.
        """
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise ValueError(f"`{reference}`: a registered model is written models:/NAME@ALIAS or models:/NAME/VERSION")
        name, alias, version = match["name"], match["alias"], match["version"]
        try:
            if alias:
                return self.client.get_model_version_by_alias(name, alias)
            return self.client.get_model_version(name, version)
        except MlflowException:
            there_are = ", ".join(self._references()) or "none; hicmae register makes one"
            raise ValueError(f"no `{reference}` in MLflow at {self.runs.name}; there are: {there_are}") from None

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a registered model, the newest first; none if there is no such model."""
        found = self.client.search_model_versions(f"name = '{name}'")
        return sorted(found, key=lambda version: int(version.version), reverse=True)

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """The version that an alias points at."""
        try:
            return self.client.get_model_version_by_alias(name, alias)
        except MlflowException:
            return None

    def point(self, alias: str, version: ModelVersion) -> None:
        """Let an alias point at a version."""
        self.client.set_registered_model_alias(version.name, alias, version.version)

    def add(
        self, name: str, run: Run, weights: Path, num_segments: int, tags: Mapping[str, str], description: str
    ) -> ModelVersion:
        """Make a new version of a registered model.

        Args:
            name: The registered model's name; it is made if it is not there.
            run: The run that trained the model.
            weights: Its ``model.safetensors``.
            num_segments: Windows averaged for a clip's prediction.
            tags: What the version should tell of itself.
            description: The same for people, as Markdown.
        """
        run_id, experiment_id = run.info.run_id, run.info.experiment_id
        logged = self.client.create_logged_model(experiment_id, name, run_id, dict(tags), model_type="classifier")
        with tempfile.TemporaryDirectory() as beside:
            folder = Path(beside) / "model"
            write_pyfunc(folder, weights, num_segments, logged.model_id, run_id, tags)
            self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        return self.client.create_model_version(
            name, logged.artifact_location, run_id, dict(tags), description=description, model_id=logged.model_id
        )

    def model_file(self, version: ModelVersion) -> Path:
        """A version's weights, as a file here.

        Raises:
            ValueError: If they cannot be had.
        """
        try:
            source = self.client.get_model_version_download_uri(version.name, version.version)
            if source.startswith("models:/"):
                source = self.client.get_logged_model(source.removeprefix("models:/")).artifact_location
            return Path(download_artifacts(artifact_uri=f"{source}/data/{MODEL_FILE}", tracking_uri=self.runs.uri))
        except (MlflowException, OSError) as error:
            raise ValueError(
                f"{version.name} version {version.version} has no data/{MODEL_FILE} that can be had: {error}"
            ) from None

    def _references(self) -> list[str]:
        found = []
        for found_version in self.client.search_model_versions(max_results=100):
            name, number = found_version.name, found_version.version
            aliases = self.client.get_model_version(name, number).aliases
            found += [f"models:/{name}@{alias}" for alias in aliases]
            found.append(f"models:/{name}/{number}")
        return sorted(found)


def write_pyfunc(
    folder: Path, weights: Path, num_segments: int, model_id: str, run_id: str, metadata: Mapping[str, str]
) -> None:
    """Write the folder; nothing in it is a pickle.

    Args:
        folder: Made by this.
        weights: A fine-tuned ``model.safetensors``.
        num_segments: Windows averaged for a clip's prediction.
        model_id: What MLflow calls the model.
        run_id: The run that trained it.
        metadata: Noted in ``MLmodel``.

    Raises:
        ValueError: If `weights` are not a classifier's.
    """
    _, trained = load_classifier(weights)
    logging.getLogger("mlflow.models.model").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as beside:
        package = Path(beside) / _PACKAGE.name
        for name in _CODE:
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_PACKAGE / name, package / name)
        pyfunc.save_model(
            folder,
            loader_module=served_model.__name__,
            data_path=str(weights),
            code_paths=[str(Path(hicmae_core.__file__).parent), str(package)],
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
    given = [ColSpec(kinds.get(name, DataType.double), name) for name in columns]
    return ModelSignature(Schema([*taken]), Schema([*given]))


def pinned_requirements() -> list[str]:
    """What the library and the reading of videos need, in the versions that are installed here."""
    wanted = [Requirement(line) for line in requires("hicmae") or ()]
    names = [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": "media"})] + ["mlflow"]
    pinned = []
    for name in names:
        try:
            pinned.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            raise ValueError(f"{name} is not installed, so the model's environment cannot be pinned") from None
    return sorted(pinned)
