"""Where the project is and in what state of its history."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


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
