"""What determines a tracked run, a key made of it and a readable name; and where the run comes from: commit, data,
DVC's locks, environment.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq
import yaml

from hicmae import layout
from hicmae.layout import git_state
from hicmae_core.config import Params
from hicmae_core.files import sha256_of

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

ENVIRONMENT_TAG = "environment."
"""Begins the tags that say, for each stage of a run, what it ran on."""
_LOCK = "dvc.lock"
_READINGS, _PAUSE_SECONDS = 20, 0.1

PRETRAINING = "pretraining"
"""The experiment that holds all pre-trainings."""


class Environment(NamedTuple):
    """What a stage runs on."""

    summary: Mapping[str, str]
    """The commit, Python, platform, torch, CUDA and GPU (``none`` where no torch is loaded), a digest of `packages`."""
    packages: str
    """``name==version`` of all that is installed, a line each."""


def environment(root: Path) -> Environment:
    """The environment of this process, and the commit whose code it runs; a later stage of the run may have others."""
    installed = sorted({f"{found.name.lower().replace('_', '-')}=={found.version}" for found in distributions()})
    packages = "".join(f"{line}\n" for line in installed)
    torch = sys.modules.get("torch")
    cuda = torch.version.cuda if torch else None
    summary = {
        "git_commit": _commit(root),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": version("torch"),
        "cuda": cuda or "none",
        "gpu": (_gpu_names() if cuda else "") or "none",
        "packages_sha256": hashlib.sha256(packages.encode()).hexdigest(),
    }
    return Environment(summary, packages)


def tags(root: Path, study: Study, params: Params) -> dict[str, str]:
    """Tags that every run of a study carries: who, which commit, which data."""
    return {
        "dataset": study.dataset,
        "seed": str(params.seed),
        "device": params.compute.device,
        "git_commit": _commit(root),
        "dvc_locks_sha256": locks_digest(root),
        "dvc_md5": json.dumps(_md5_of_inputs(root, study, params)),
        "mlflow.user": getpass.getuser(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": " ".join(sys.argv),
        "mlflow.source.git.commit": git_state(root)[0],
    }


def locks_digest(root: Path) -> str:
    """One digest of ``dvc.lock`` and of the folds' ``folds/*/dvc.lock``; empty if there is none."""
    lines = [f"{path.relative_to(root)} {sha256_of(path)}\n" for path in _locks(root)]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def dataset_inputs(root: Path, study: Study) -> list[DatasetInput]:
    """The manifests that a run's clips are listed in."""
    context = "pretraining" if study.experiment == PRETRAINING else "cross-validation"
    return [_dataset_input(root, name, context) for name in study.datasets]


def _dataset_input(root: Path, name: str, context: str) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag  # MLflow takes seconds to load

    path = layout.manifest_file(name)
    digest = sha256_of(root / path)
    dataset = Dataset(
        name=name,
        digest=digest[:32],  # MLflow takes 36 characters at most
        source_type="local",
        source=json.dumps({"uri": str(path), "sha256": digest}),
        profile=json.dumps({"num_rows": pq.read_metadata(root / path).num_rows}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _commit(root: Path) -> str:
    commit, is_dirty = git_state(root)
    return f"{commit}-dirty" if is_dirty else commit


def _gpu_names() -> str:
    """Names of the GPUs, without opening one."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return ", ".join(said.split("\n")[:-1])


def _locks(root: Path) -> list[Path]:
    return [path for path in (root / _LOCK, *sorted(root.glob(f"{layout.FOLDS}/*/{_LOCK}"))) if path.is_file()]


def _md5_of_inputs(root: Path, study: Study, params: Params) -> dict[str, str]:
    """What DVC calls the files that a study is made of; empty for those that are not under DVC.

    DVC writes a lock in place, so a reader may find half of it. The stages before this one have ended when DVC starts
    it: their entries will be there.
    """
    folders = (layout.manifest_file, layout.faces_folder, layout.audio_folder)
    wanted = [folder(name) for name in study.datasets for folder in folders]
    if study.experiment != PRETRAINING and starting_point(params) is not None:
        wanted.append(layout.PRETRAINED_MODEL)
    known: dict[str, str] = {}
    for _ in range(_READINGS if "DVC_STAGE" in os.environ else 1):
        known = _outputs(root)
        if all(str(path) in known for path in wanted):
            break
        time.sleep(_PAUSE_SECONDS)
    return {str(path): known.get(str(path), "") for path in wanted}


def _outputs(root: Path) -> dict[str, str]:
    md5s: dict[str, str] = {}
    for path in _locks(root):
        try:
            stages = (yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}).get("stages", {})
        except yaml.YAMLError:
            continue
        for stage in stages.values():
            md5s |= {output["path"]: output.get("md5", "") for output in (stage or {}).get("outs", [])}
    return md5s


@dataclass(frozen=True)
class Study:
    """A pre-training, or the folds of one dataset under one recipe."""

    experiment: str
    """Where its runs are kept: a dataset's name, or ``pretraining``."""
    name: str
    """What people read, such as ``demo both pretrained``, or ``crema_d perceived both pretrained, audio shown``."""
    datasets: tuple[str, ...]
    """The datasets whose clips are used; one, but for a pre-training."""
    settings: Mapping[str, Any]
    """The parameters that determine its results, as nested plain values."""

    @property
    def dataset(self) -> str:
        """The name of the dataset, of several joined."""
        return "+".join(self.datasets)

    @property
    def key(self) -> str:
        """The same for the same settings, in any process."""
        return key_of({"experiment": self.experiment, "settings": self.settings})

    def fold_key(self, fold: int) -> str:
        """As `key`, of one fold."""
        return key_of({"study": self.key, "fold": fold})


def pretraining(params: Params) -> Study:
    """The pre-training that `params` describe."""
    chosen = params.pretrain
    without = ["skips"] if not chosen.skips else []
    without += ["contrast"] if chosen.contrastive_weight == 0 else []
    name = f"{'+'.join(chosen.dataset)} {params.model.size}" + (f", without {' and '.join(without)}" if without else "")
    return Study(PRETRAINING, name, chosen.dataset, _settings(params, chosen.dataset, ("model", "faces", "pretrain")))


def cross_validation(params: Params, dataset: str) -> Study:
    """The folds of `dataset` under the recipe of `params`.

    Raises:
        ValueError: If `params` have no such dataset.
    """
    if dataset not in params.dataset:
        raise ValueError(f"no dataset `{dataset}` in params.yaml; there are: {', '.join(params.dataset)}")
    settings = _settings(params, (dataset,), ("model", "faces", "finetune", "evaluate"))
    source = starting_point(params)
    if source is not None:
        settings |= {"pretrain": source.settings["pretrain"], "pretrain_dataset": source.settings["dataset"]}
    chosen = params.finetune
    if chosen.adaptive_epochs:
        settings |= {"pretrain": params.pretrain.model_dump(mode="json")}
    name = " ".join(filter(None, (dataset, params.dataset[dataset].labels, chosen.modality, chosen.init)))
    name += params.dataset[dataset].face_note(chosen.modality)
    name += ", linear probe" if chosen.trainable == "head" else ""
    name += f", {100 * chosen.label_fraction:g} % of the labels" if chosen.label_fraction < 1 else ""
    name += ", last layer" if chosen.fusion == "last" else ""
    name += ", adapted" if chosen.adaptive_epochs else ""
    name += ", statistics" if chosen.pooling == "statistics" else ""
    if params.evaluate.modality not in ("both", params.finetune.modality):
        name += f", {params.evaluate.modality} shown"
    return Study(dataset, name, (dataset,), settings)


def starting_point(params: Params) -> Study | None:
    """The pre-training that fine-tuning starts from; None from scratch or from published weights."""
    ours = params.finetune.init == "pretrained" and params.finetune.checkpoint == layout.PRETRAINED_MODEL
    return pretraining(params) if ours else None


def key_of(value: Any) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _settings(params: Params, datasets: tuple[str, ...], sections: tuple[str, ...]) -> dict[str, Any]:
    values = params.model_dump(mode="json")
    settings = {name: values[name] for name in ("seed", *sections)}
    described = {name: {"name": name, **values["dataset"][name]} for name in datasets}
    settings["dataset"] = described if len(datasets) > 1 else described[datasets[0]]
    if any(params.dataset[name].corpus.startswith("demo") for name in datasets):
        settings["corpus"] = values["corpus"]
    return settings
