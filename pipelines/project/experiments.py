"""DVC's experiments, through its command line and the git references that hold them."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from hicmae import layout
from hicmae_core.config import Params, parse_params

_REFERENCE = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/[^/]+")
_TASK = re.compile(r"^(\w+)\s+(\S+)\s.*\b(\w+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Finished:
    """An experiment that has run."""

    name: str
    commit: str
    """Holds its params.yaml and its dvc.lock."""
    baseline: str
    """The commit that it started from."""


def finished(root: Path) -> list[Finished]:
    """All experiments of the project that have run, the newest first, whatever commit they started from."""
    listed = git(root, "for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    found = []
    for line in listed.splitlines():
        commit, reference = line.split()
        if _REFERENCE.fullmatch(reference):
            *_, start, rest, name = reference.split("/")
            found.append(Finished(name, commit, start + rest))
    return found


def finished_here(root: Path) -> list[Finished]:
    """Those of `finished` that started from the commit that is checked out."""
    head = git(root, "rev-parse", "HEAD").strip()
    return [experiment for experiment in finished(root) if experiment.baseline == head]


def tasks(root: Path, status: Literal["Queued", "Running"]) -> dict[str, str]:
    """Tasks of DVC's queue that have this status, by the name of their experiment."""
    listed = _TASK.findall(_output(root, *dvc("queue", "status")))
    return {name: task for task, name, found in listed if found == status}


def params_of(root: Path, experiment: Finished) -> Params | None:
    """The parameters it ran under; None if they are no longer valid."""
    text = git(root, "show", f"{experiment.commit}:params.yaml")
    try:
        return parse_params(yaml.safe_load(text), experiment.name)
    except ValueError:
        return None


def check_identity(root: Path) -> None:
    """Demand what DVC needs to keep an experiment, before anything is computed for it.

    Raises:
        ValueError: If git's configuration names no user.
    """
    for key in ("user.name", "user.email"):
        found = subprocess.run(["git", "config", key], cwd=root, capture_output=True, text=True, check=False).stdout
        if not found.strip():
            raise ValueError(
                f"git has no {key}: DVC keeps each experiment as a commit, which needs one; `git config --global {key} "
                "...` sets it"
            )


def reproduce(root: Path, targets: Sequence[str]) -> None:
    """Bring stages of the workspace up to date, before everyone's eyes.

    Raises:
        ValueError: If one of them fails.
    """
    if subprocess.run(dvc("repro", *targets), cwd=root, check=False).returncode:
        raise ValueError(f"`dvc repro {' '.join(targets)}` failed, as logged above")


def queue(root: Path, name: str, overrides: Sequence[str], targets: Sequence[str]) -> None:
    """Put an experiment into DVC's queue.

    It runs in a copy of the files that git knows. Raw clips that DVC does not keep are not there, and need not be:
    what was prepared from them comes from the cache.
    """
    settings = [argument for override in overrides for argument in ("--set-param", override)]
    _output(root, *dvc("exp", "run", "--queue", "--allow-missing", "--name", name, *settings, *targets))


def add_graph_to_index(root: Path) -> None:
    """Add the graph's files that git does not track yet, those of a new dataset, to git's index, without a commit."""
    files = [
        str(path.relative_to(root))
        for pattern in ("dvc.lock", f"{layout.FOLDS}/*/dvc.yaml", f"{layout.FOLDS}/*/dvc.lock")
        for path in root.glob(pattern)
    ]
    known = git(root, "ls-files", "--", *files).splitlines()
    new = sorted(set(files) - set(known))
    if new:
        git(root, "add", "--", *new)


def withdraw(root: Path, names: Iterable[str]) -> None:
    """Take experiments that have not begun out of the queue."""
    queued = tasks(root, "Queued")
    chosen = [queued[name] for name in names if name in queued]
    if chosen:
        _output(root, *dvc("queue", "remove", *chosen))


def remove(root: Path, names: Iterable[str]) -> None:
    """Forget experiments of the commit that is checked out."""
    _output(root, *dvc("exp", "remove", *names))


def start_queue(root: Path, num_jobs: int, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Run all that is queued, `num_jobs` at a time; what the stages print is added to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as handle:
        return subprocess.Popen(
            dvc("exp", "run", "--run-all", "--jobs", str(num_jobs)),
            cwd=root,
            env=dict(environment),
            stdout=handle,
            stderr=subprocess.STDOUT,
        )


def stop_queue(root: Path) -> None:
    """End what the queue is running; what waits stays queued."""
    _output(root, *dvc("queue", "stop", "--kill"))


def fetch(root: Path, experiment: Finished, path: Path, cache: Path) -> Path:
    """Where a copy of an experiment's output, a file or folder, is; it is made in `cache` if it is not there yet."""
    target = cache / experiment.commit / path
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as beside:
            copied = Path(beside) / target.name
            _output(root, *dvc("get", str(root), str(path), "--rev", experiment.commit, "--out", str(copied)))
            copied.replace(target)
    return target


def dvc(*arguments: str) -> list[str]:
    """DVC of this environment, as a command."""
    return [sys.executable, "-m", "dvc", *arguments]


def git(root: Path, *arguments: str) -> str:
    """What git prints."""
    return _output(root, "git", *arguments)


def _output(root: Path, *command: str) -> str:
    """What a command prints.

    Raises:
        ValueError: If it fails, with the end of what it said.
    """
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip()[-1000:]
        raise ValueError(f"`{' '.join(command[:6])} ...` failed: {said}")
    return result.stdout
