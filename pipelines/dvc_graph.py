"""What DVC knows about the project, read once before anything runs: its stages, their order, what is out of date."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import yaml

DVC = (sys.executable, "-m", "dvc")
_NODE = re.compile(r'^"(?P<stage>.+?)"(?: -> "(?P<below>.+)")?;$')


@dataclass(frozen=True)
class Graph:
    """Stages in dependency order."""

    upstream: dict[str, frozenset[str]]
    """The stages that each stage directly depends on; upstream stages come first."""
    out_of_date: frozenset[str]
    """Stages that differ from dvc.lock; stages below them may turn out to."""

    def select(self, targets: Sequence[str]) -> list[str]:
        """The stages named by `targets` and all that they depend on, in order; without targets all stages.

        A target is a stage (``finetune@demo-1``) or all of a matrix (``finetune``).

        Raises:
            ValueError: For an unknown target.
        """
        if not targets:
            return list(self.upstream)
        chosen: set[str] = set()
        for target in targets:
            named = [stage for stage in self.upstream if stage == target or stage.startswith(f"{target}@")]
            if not named:
                raise ValueError(f"no stage `{target}`; there are: {', '.join(self.upstream)}")
            chosen.update(named)
        for stage in reversed(self.upstream):
            if stage in chosen:
                chosen |= self.upstream[stage]
        return [stage for stage in self.upstream if stage in chosen]

    def to_run(self, selected: Sequence[str], force: bool = False) -> list[str]:
        """The selected stages that are out of date or below one that is; all of them with `force`."""
        running: list[str] = []
        for stage in selected:
            if force or stage in self.out_of_date or not self.upstream[stage].isdisjoint(running):
                running.append(stage)
        return running


def read_graph(root: Path) -> Graph:
    """Ask DVC for the graph and status of the project in `root`.

    Raises:
        ValueError: With DVC's message, if it cannot read the project.
    """
    edges: dict[str, set[str]] = {}
    for line in _dvc(root, "dag", "--dot").splitlines():
        match = _NODE.match(line.strip())
        if match is None or match["stage"].endswith(".dvc"):  # a tracked file: nothing to run
            continue
        edges.setdefault(match["stage"], set())
        if match["below"] is not None:
            edges.setdefault(match["below"], set()).add(match["stage"])
    status = json.loads(_dvc(root, "status", "--json"))
    order = TopologicalSorter(edges).static_order()
    return Graph({stage: frozenset(edges[stage]) for stage in order}, frozenset(status) & frozenset(edges))


def repro_command(stage: str, force: bool = False) -> list[str]:
    """The command that brings one stage up to date; safe while others do the same for other stages."""
    return [*DVC, "--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), stage]


def protect_locks(root: Path) -> list[Path]:
    """Keep a copy of each dvc.lock, which DVC rewrites in place; put the copy back where a kill left a torn one.

    Returns:
        The files that were put back.
    """
    restored = []
    for definition in [root / "dvc.yaml", *sorted(root.glob("*/dvc.yaml"))]:
        lock = definition.with_name("dvc.lock")
        copy = root / ".dvc" / "tmp" / "lock-copies" / lock.relative_to(root)
        if _is_whole(lock):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(lock, copy)
        elif lock.exists() and copy.exists():
            shutil.copy2(copy, lock)
            restored.append(lock)
    return restored


def _is_whole(lock: Path) -> bool:
    try:
        content = yaml.load(lock.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (FileNotFoundError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and "schema" in content


def _dvc(root: Path, *arguments: str) -> str:
    result = subprocess.run([*DVC, *arguments], cwd=root, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ValueError(f"dvc {' '.join(arguments)} failed in {root}:\n{result.stderr.strip()}")
    return result.stdout
