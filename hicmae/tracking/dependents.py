"""What was made of a clip, and what to do about it when the clip is withdrawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from mlflow.entities import Run

from hicmae import layout
from hicmae.prepared import PreparedDataset
from hicmae.tracking import provenance
from hicmae.tracking.model_store import ModelStore
from hicmae.tracking.registry import model_name
from hicmae.tracking.store import PARENT_TAG, MlflowStore, dataset_inputs_of, run_id_of
from hicmae_core.config import Params
from hicmae_core.files import sha256_of
from hicmae_core.store.folds import FoldSplit, training_parts
from hicmae_core.store.manifest import read_manifest

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
        raise ValueError(f"no manifest has a clip `{clip}`; looked at: {dataset or ', '.join(known)}")
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
