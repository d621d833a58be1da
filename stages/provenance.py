"""What a run tells of where it comes from: commit, data, DVC's locks, environment."""

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
from importlib.metadata import distributions, version
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag

from hicmae_core.config import Params
from hicmae_core.files import sha256_of
from stages import layout, studies
from stages.project import git_state
from stages.studies import Study

ENVIRONMENT_TAG = "environment."
"""Begins the tags that say, for each stage of a run, what it ran on."""
_LOCK = "dvc.lock"
_READINGS, _PAUSE_SECONDS = 20, 0.1


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
    context = "pretraining" if study.experiment == studies.PRETRAINING else "cross-validation"
    return [_dataset_input(root, name, context) for name in study.datasets]


def _dataset_input(root: Path, name: str, context: str) -> DatasetInput:
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
    if study.experiment != studies.PRETRAINING and studies.starting_point(params) is not None:
        wanted.append(layout.PRETRAINED_MODEL)
    known: dict[str, str] = {}
    for _ in range(_READINGS if "DVC_STAGE" in os.environ else 1):
        known = _outputs(root)
        if all(str(path) in known for path in wanted):
            break
        time.sleep(_PAUSE_SECONDS)
    return {str(path): known.get(str(path), "") for path in wanted}


def _outputs(root: Path) -> dict[str, str]:
    md5s = {}
    for path in _locks(root):
        try:
            stages = (yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}).get("stages", {})
        except yaml.YAMLError:
            continue
        for stage in stages.values():
            md5s |= {output["path"]: output.get("md5", "") for output in (stage or {}).get("outs", [])}
    return md5s
