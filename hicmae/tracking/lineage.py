"""From a number, prediction, model or run back to its code, data and settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from hicmae import layout
from hicmae.prepared import PreparedDataset
from hicmae.tracking import provenance
from hicmae.tracking.model_registry import model_name
from hicmae.tracking.model_store import ModelStore
from hicmae.tracking.provenance import ENVIRONMENT_TAG
from hicmae.tracking.runs import DIGEST_TAG
from hicmae.tracking.stage_runs import MODEL_FILE
from hicmae.tracking.store import KEY_TAG, PARENT_TAG, MlflowStore, dataset_inputs_of, run_id_of
from hicmae_core.config import MODEL_KEY, Params
from hicmae_core.files import sha256_of
from hicmae_core.store.folds import FoldSplit, training_parts
from hicmae_core.store.manifest import read_manifest

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
            (predictions, model, metrics, report, figure), under whatever name; predictions of `hicmae predict`, `watch`
            or `embed`; or a number in a JSON file, as ``FILE:KEY.KEY``.

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
    asked = [] if found else _models_of_predictions(path)
    if len(asked) > 1:
        raise ValueError(f"{path}: predictions of several models ({MODEL_KEY}: {', '.join(asked)}); part them first")
    if asked:
        found = store.tagged(f"{DIGEST_TAG}{MODEL_FILE}", asked[0])
    models = store.client.search_model_versions(f"tags.weights_sha256 = '{(asked or [digest])[0]}'")
    if not found:
        found = [store.client.get_run(run_id_of(version)) for version in models]
    if not found:
        what = f"predictions of a model ({MODEL_KEY} {asked[0]})" if asked else f"a file (sha256 {digest})"
        raise ValueError(f"{path}: {what} that no run in MLflow at {store.name} has logged")
    found.sort(key=lambda made: (KEY_TAG in made.data.tags, made.info.start_time), reverse=True)
    found_file: dict[str, Any] = {"file": str(path), "sha256": digest}
    if models:
        found_file["registered_as"] = [f"models:/{version.name}/{version.version}" for version in models]
    others = [made.info.run_id for made in found[1:]]
    return found_file | _of_run(store, found[0].info.run_id) | ({"same_bytes_in_runs": others} if others else {})


def _models_of_predictions(path: Path) -> list[str]:
    """The models that gave the predictions in a file of `hicmae predict`, `watch` or `embed`; none in other files."""
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


_UNKNOWN = "trained or validated on"


class _Settings(NamedTuple):
    """What decides which clips of a fold's training part are learned from."""

    selection: str
    validation_fraction: float
    label_fraction: float
    seed: int


def uses(store: MlflowStore, params: Params, clip: str, dataset: str | None = None) -> list[dict[str, str]]:
    """What depends on a clip, and what to run or delete when it is withdrawn.

    Args:
        store: Where runs and models are.
        params: All parameters; the stages' rows are about these.
        clip: Its id.
        dataset: Look in this dataset alone.

    Raises:
        ValueError: If no manifest has the clip.
    """
    known = [name for name in params.dataset if (store.root / layout.manifest_file(name)).is_file()]
    rows = [row for name in ([dataset] if dataset else known) for row in _Uses(store, params, clip, name).rows()]
    if not rows:
        raise ValueError(f"no manifest has a clip `{clip}`; searched: {dataset or ', '.join(known)}")
    rows.append(
        (".dvc/cache, DVC remotes", "in earlier versions", "dvc gc --workspace, after all else; with --cloud, too")
    )
    return [{"what": what, "role": role, "when withdrawn": fix} for what, role, fix in rows]


class _Uses:
    """What was made of a clip of one dataset."""

    def __init__(self, store: MlflowStore, params: Params, clip: str, name: str) -> None:
        self._store, self._params, self._clip, self._name = store, params, clip, name
        self._path = store.root / layout.manifest_file(name)
        self._listed = read_manifest(self._path).set_index("clip_id")

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """What, in which role, and what to do."""
        if self._clip not in self._listed.index:
            return
        name, params = self._name, self._params
        raw, files = layout.raw_folder(name), self._files()
        media = " and ".join(str(raw / path) for path in files)
        if any((self._store.root / raw / path).is_dir() for path in files):
            media += ", and the video file that the frames were taken from"
        yield str(layout.manifest_file(name)), "listed", f"delete {media or 'its file'}, then dvc repro manifest@{name}"
        for stage in ("faces", "audio", "quality"):
            yield f"{stage}@{name}", "prepared", f"dvc repro {stage}@{name}"
        if name in params.pretrain.dataset:
            yield "pretrain", "pre-trained on", "dvc repro pretrain, and all that starts from it"
        if name in params.evaluated:
            yield from self._folds()
        yield from self._runs()
        yield from self._models()

    def _files(self) -> list[str]:
        listed = self._listed.loc[self._clip, ["video_path", "audio_path"]]
        return list(dict.fromkeys(listed.dropna()))

    def _folds(self) -> Iterator[tuple[str, str, str]]:
        name, tuned = self._name, self._params.finetune
        now = _Settings(tuned.selection, tuned.validation_fraction, tuned.label_fraction, self._params.seed)
        for fold in self._params.folds[name]:
            what = f"finetune@{name}-{fold}, evaluate@{name}-{fold}"
            yield what, self._role(fold, now), f"dvc repro folds/{name}/dvc.yaml:evaluate@{fold}"
        yield f"summarise@{name}", "counted in", f"dvc repro summarise@{name}"

    def _runs(self) -> Iterator[tuple[str, str, str]]:
        """Studies and pre-trainings in MLflow, of whatever parameters."""
        present = sha256_of(self._path)
        for experiment in (self._name, provenance.PRETRAINING):
            for made in self._store.all_runs(experiment):
                used = {
                    data.dataset.name: json.loads(data.dataset.source)["sha256"] for data in dataset_inputs_of(made)
                }
                if PARENT_TAG in made.data.tags or self._name not in used:
                    continue
                role = "among its clips" if used[self._name] == present else "perhaps among its clips: another manifest"
                yield (
                    f"run {made.info.run_name} ({made.info.run_id})",
                    role,
                    "delete the run, its folds and their files",
                )

    def _models(self) -> Iterator[tuple[str, str, str]]:
        for version in ModelStore(self._store).versions(model_name(self._name)):
            role = self._role(int(version.tags["fold"]), _settings_of(self._store.client.get_run(run_id_of(version))))
            tested = role == "tested in"
            fix = "its result changes" if tested else "delete the version"
            yield f"models:/{version.name}/{version.version}", f"{role}, not trained on" if tested else role, fix

    def _role(self, fold: int, settings: _Settings) -> str:
        if fold == self._listed.loc[self._clip, "test_fold"]:
            return "tested in"
        parts = self._parts(fold, settings)
        if parts is None:
            return _UNKNOWN
        if self._clip in parts.train:
            return "trained on"
        return "validated on" if self._clip in (parts.validation or ()) else "left out"

    def _parts(self, fold: int, settings: _Settings) -> FoldSplit | None:
        """The split that fine-tuning makes; None where the prepared clips are not here, or cannot be split."""
        try:
            prepared = PreparedDataset(self._params, self._name)
            return training_parts(prepared.manifest, fold, prepared.dataset, **settings._asdict())
        except (ValueError, OSError):
            return None


def _settings_of(trained: Run) -> _Settings:
    """Those of a run, which logs all parameters."""
    said = trained.data.params
    numbers = (json.loads(said[name]) for name in ("finetune.validation_fraction", "finetune.label_fraction", "seed"))
    return _Settings(said["finetune.selection"], *numbers)
