"""From a number, prediction, model or run back to its code, data and settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from hicmae.tracking.delivery import DIGEST_TAG
from hicmae.tracking.model_store import ModelStore
from hicmae.tracking.provenance import ENVIRONMENT_TAG
from hicmae.tracking.stage_runs import MODEL_FILE
from hicmae.tracking.store import KEY_TAG, PARENT_TAG, MlflowStore, dataset_inputs_of, run_id_of
from hicmae_core.config import MODEL_KEY
from hicmae_core.files import sha256_of

_TAGS = ("stage", "git_commit", "dataset", "fold", "seed", "device", "training_fingerprint", "run_key",
         "dvc_locks_sha256")  # fmt: skip
_LOGGED_NAMES = ("model.safetensors", "predictions.parquet", "metrics.json", "results.json", "results.csv",
                 "results.md", "confusion.csv", "history.csv")  # fmt: skip
"""What files of runs are called; a copy may have another name."""
_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".json": pd.read_json,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".parquet": pd.read_parquet,
}


def origin(store: MlflowStore, name: str) -> dict[str, Any]:
    """What a result was made of.

    Args:
        store: Where the runs are.
        name: An MLflow run id; ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``; a file that a run has logged
            (predictions, model, metrics, report, figure), under whatever name; answers of `hicmae predict`, `watch` or
            `embed`; or a number in a JSON file, as
            ``FILE:KEY.KEY``.

    Raises:
        ValueError: If there is no such run, model or number, or no run has logged such a file.
    """
    path, _, key = name.partition(":")
    if Path(name).is_file():
        return _of_file(store, Path(name))
    if key and Path(path).is_file():
        return {"number": name, "value": _number(Path(path), key)} | _of_file(store, Path(path))
    if name.startswith("models:"):
        version = ModelStore(store).find(name)
        found = {"model": f"models:/{version.name}/{version.version}", "weights_sha256": version.tags["weights_sha256"]}
        return found | _of_run(store, run_id_of(version))
    if "/" in path or Path(path).suffix:
        raise ValueError(
            f"{path}: no such file; what is traced is a run id, a model, a file or FILE:KEY of a JSON file"
        )
    return _of_run(store, name)


def _of_file(store: MlflowStore, path: Path) -> dict[str, Any]:
    digest = sha256_of(path)
    names = dict.fromkeys([path.name, *(name for name in _LOGGED_NAMES if Path(name).suffix == path.suffix)])
    found = [made for name in names for made in store.tagged(f"{DIGEST_TAG}{name}", digest)]
    asked = [] if found else _models_of_answers(path)
    if len(asked) > 1:
        raise ValueError(f"{path}: answers of several models ({MODEL_KEY}: {', '.join(asked)}); part them first")
    if asked:
        found = store.tagged(f"{DIGEST_TAG}{MODEL_FILE}", asked[0])
    models = store.client.search_model_versions(f"tags.weights_sha256 = '{(asked or [digest])[0]}'")
    if not found:
        found = [store.client.get_run(run_id_of(version)) for version in models]
    if not found:
        what = f"answers of a model ({MODEL_KEY} {asked[0]})" if asked else f"a file (sha256 {digest})"
        raise ValueError(f"{path}: {what} that no run in MLflow at {store.name} has logged")
    found.sort(key=lambda made: (KEY_TAG in made.data.tags, made.info.start_time), reverse=True)
    told: dict[str, Any] = {"file": str(path), "sha256": digest}
    if models:
        told["registered_as"] = [f"models:/{version.name}/{version.version}" for version in models]
    others = [made.info.run_id for made in found[1:]]
    return told | _of_run(store, found[0].info.run_id) | ({"same_bytes_in_runs": others} if others else {})


def _models_of_answers(path: Path) -> list[str]:
    """The models that gave the answers in a file of `hicmae predict`, `watch` or `embed`; none in other files."""
    if path.suffix not in _READERS:
        return []
    try:
        table = _READERS[path.suffix](path)
    except ValueError:
        return []
    return sorted(table[MODEL_KEY].unique()) if MODEL_KEY in table else []


def _of_run(store: MlflowStore, run_id: str) -> dict[str, Any]:
    try:
        made = store.client.get_run(run_id)
    except MlflowException:
        raise ValueError(f"no run `{run_id}` in MLflow at {store.name}") from None
    found = _facts(made)
    if parent_id := made.data.tags.get(PARENT_TAG):
        found["study_run_id"] = parent_id
    else:
        found["folds"] = {str(fold): child.info.run_id for fold, child in store.fold_runs(run_id).items()}
    if before := made.data.tags.get("pretraining_run_id"):
        found["pretraining"] = _facts(store.client.get_run(before))
    return {name: value for name, value in found.items() if value} | {"params": made.data.params}


def _facts(made: Run) -> dict[str, Any]:
    tags = made.data.tags
    return {
        "run_id": made.info.run_id,
        "run": made.info.run_name,
        "status": made.info.status,
        **{tag: tags[tag] for tag in _TAGS if tag in tags},
        "manifests": {used.dataset.name: json.loads(used.dataset.source)["sha256"] for used in dataset_inputs_of(made)},
        "dvc_md5": {path: md5 for path, md5 in json.loads(tags.get("dvc_md5", "{}")).items() if md5},
        "environment": {
            tag.removeprefix(ENVIRONMENT_TAG): json.loads(value)
            for tag, value in tags.items()
            if tag.startswith(ENVIRONMENT_TAG)
        },
    }


def _number(path: Path, key: str) -> float:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is no JSON file; FILE:KEY names a number in one") from None
    for part in key.split("."):
        inside = value if isinstance(value, Mapping) else {}
        if part not in inside:
            raise ValueError(f"{path} has no `{key}`: no `{part}` among {', '.join(inside) or 'nothing'}")
        value = inside[part]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{path}: `{key}` is no number")
    return value
