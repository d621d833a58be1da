"""MLflow's model registry: versions of a model, the aliases that point at them, and their files."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from stages.runs import RunStore
from stages.tracking import MODEL_FILE

_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")


class ModelStore:
    """The registered models of an MLflow store."""

    def __init__(self, store: RunStore) -> None:
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
