"""The project's root and git state, and where every file of the graph lives; dvc.yaml names the same paths."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

RAW = Path("data/raw")
PRETRAIN = Path("models/pretrain")
PRETRAINED_MODEL = PRETRAIN / "model.safetensors"
CHECKPOINTS = Path("checkpoints")
REPORTS = Path("reports")
FOLDS = Path("folds")


def raw_folder(dataset: str) -> Path:
    """The dataset's raw files; a link to where they really are will do."""
    return RAW / dataset


def manifest_file(dataset: str) -> Path:
    """One row per clip."""
    return Path("data/manifests") / f"{dataset}.parquet"


def faces_folder(dataset: str) -> Path:
    """Shards of face crops."""
    return Path("data/faces") / dataset


def audio_folder(dataset: str) -> Path:
    """Shards of log-mel features."""
    return Path("data/audio") / dataset


def preparation_cache(stage: str, dataset: str) -> Path:
    """Finished shards, outside the outputs that DVC deletes before a stage runs, so that the next run has them."""
    return CHECKPOINTS / f"prepare-{stage}-{dataset}"


def preparation_metrics(stage: str, dataset: str) -> Path:
    """Counts of a preparation stage."""
    return Path("results/preparation") / f"{stage}-{dataset}.json"


def finetune_folder(dataset: str, fold: int) -> Path:
    """A fold's model and training history."""
    return Path("models/finetune") / dataset / str(fold)


def results_folder(dataset: str, fold: int) -> Path:
    """A fold's predictions and metrics."""
    return Path("results") / dataset / str(fold)


def project_root() -> Path:
    """The folder of dvc.yaml, whatever folder of the project a stage is started in.

    Raises:
        ValueError: Outside a project.
    """
    if "DVC_ROOT" in os.environ:
        return Path(os.environ["DVC_ROOT"])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise ValueError(f"{here} is not in a project: no dvc.yaml here or above; run from the project's root")


def git_state(root: Path) -> tuple[str, bool]:
    """The commit that is checked out, and whether tracked files differ from it.

    Empty and False without git, or in a folder of a repository that does not hold the project: its commits say nothing.
    """
    commit = _git(root, "rev-parse", "HEAD") if _git(root, "ls-files", "dvc.yaml") else ""
    return commit, bool(commit and _git(root, "status", "--porcelain", "--untracked-files=no"))


def _git(root: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
