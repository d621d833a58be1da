"""MLflow's model registry: versions of a model, the aliases that point at them, and their files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModelOutput, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from stages.mlflow_store import MlflowStore
from stages.pyfunc import write_pyfunc
from stages.tracking import MODEL_FILE

_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")


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
            there_are = ", ".join(self._references()) or "none; python -m stages.registry registers one"
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
            num_segments: Windows averaged for a clip's answer.
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
        for version in self.client.search_model_versions(max_results=100):
            aliases = self.client.get_model_version(version.name, version.version).aliases
            found += [f"models:/{version.name}@{alias}" for alias in aliases]
            found.append(f"models:/{version.name}/{version.version}")
        return sorted(found)
