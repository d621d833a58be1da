"""What must be true of the project's folder before anything is installed or run in it.

Run by ``make`` under any Python, before there is an environment: it uses the standard library alone.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

_ZIP = (
    "no git repository here, which DVC asks for (a downloaded zip has none): run `git init`; or, to do without, "
    r"`printf '[core]\n    no_scm = true\n' >> .dvc/config.local`: "
    "runs then name no commit, and DVC experiments are off"
)
_IMPOSSIBLE = {
    ":": "the shell finds no command in a folder with `:`",
    "%": "MLflow cannot make its store from a folder with `%`",
    "?": "MLflow cannot name its store in a folder with `?`",
}


def check_folder(root: Path) -> None:
    """See that DVC and an environment can work in the project's folder.

    Raises:
        ValueError: If they cannot, with what to do.
    """
    for letter, why in _IMPOSSIBLE.items():
        if letter in str(root.resolve()):
            raise ValueError(
                f"{root.resolve()}: {why}: rename or move the folder, so that no `{letter}` is in its path"
            )
    if not has_repository(root) and not _works_without(root):
        raise ValueError(f"{root.resolve()}: {_ZIP}")


def has_repository(root: Path) -> bool:
    """Whether `root` is in a git repository."""
    return any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents))


def commit_problem(root: Path) -> str:
    """Why runs name no commit, with what to do; empty if they do."""
    if not has_repository(root):
        return "no git repository here, so runs name no commit and DVC experiments are off: git init"
    try:
        tried = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return "git is not installed, so runs name no commit and DVC experiments are off: apt-get install git"
    if tried.returncode == 0:
        tracked = subprocess.run(["git", "ls-files", "dvc.yaml"], cwd=root, capture_output=True, text=True)
        if tracked.stdout.strip():
            return ""
        return "dvc.yaml is not in the git repository around this folder, so runs name no commit: git init, or git add"
    if "dubious ownership" in tried.stderr:
        fix = f"git config --global --add safe.directory '{root.resolve()}'"
        return f"the folder belongs to another user, so git refuses to read it and runs name no commit: {fix}"
    if "not a git repository" in tried.stderr:
        return f"git cannot read the repository ({tried.stderr.strip().splitlines()[0]}): clone the project anew"
    return "the git repository has no commit yet, so runs name none: git add -A && git commit -m Start"


def _works_without(root: Path) -> bool:
    """Whether DVC has been told that there is no git."""
    said = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        said.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
        return said.getboolean("core", "no_scm", fallback=False)
    except (configparser.Error, ValueError):
        return False  # DVC says what is wrong with its file


if __name__ == "__main__":
    try:
        check_folder(Path())
    except ValueError as problem:
        sys.exit(f"error: {problem}")
