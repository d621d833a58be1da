"""What DVC knows about the project, read once before anything runs: its stages, their order, what is out of date."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from pipelines.graph.fold_files import check_graphs
from pipelines.project.experiments import dvc

_NODE = re.compile(r'^"(?P<stage>.+?)"(?: -> "(?P<below>.+)")?;$')


@dataclass(frozen=True)
class Graph:
    """Stages by their address, in dependency order."""

    upstream: dict[str, frozenset[str]]
    """The stages that each stage directly depends on; upstream stages come first."""
    out_of_date: frozenset[str]
    """Stages that differ from dvc.lock; stages below them may turn out to."""

    def select(self, targets: Sequence[str]) -> list[str]:
        """The stages named by `targets` and all that they depend on, in order; without targets all stages.

        A target is a stage (``finetune@demo-1``), all folds of a dataset (``finetune@demo``), or all of a matrix
        (``finetune``).

        Raises:
            ValueError: For an unknown target.
        """
        if not targets:
            return list(self.upstream)
        chosen: set[str] = set()
        for target in targets:
            named = [stage for stage in self.upstream if stage == target or _is_of(name_of(stage), target)]
            if not named:
                raise ValueError(f"no stage `{target}`; there are: {', '.join(map(name_of, self.upstream))}")
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


def name_of(address: str) -> str:
    """What people call a stage: ``finetune@demo-1``, whichever file of dvc.yaml it is in.

    DVC's address of it may be ``finetune@demo-1`` or ``folds/demo/dvc.yaml:finetune@1``.
    """
    file, _, name = address.rpartition(":")
    if not file:
        return name
    base, _, item = name.partition("@")
    return f"{base}@{'-'.join(filter(None, (Path(file).parent.name, item)))}"


def read_graph(root: Path) -> Graph:
    """Ask DVC for the graph and status of the project in `root`.

    Raises:
        ValueError: With DVC's message, if it cannot read the project or somebody's `dvc repro` is at work in it; as
            `check_graphs`.
    """
    check_graphs(root)
    edges = read_edges(root)
    status = json.loads(_read(root, "status", "--json"))
    order = TopologicalSorter({stage: sorted(edges[stage]) for stage in sorted(edges)}).static_order()
    return Graph({stage: frozenset(edges[stage]) for stage in order}, frozenset(status) & frozenset(edges))


def read_edges(root: Path) -> dict[str, set[str]]:
    """The stages that each stage of the project directly depends on.

    Raises:
        ValueError: With DVC's message, if it cannot read the project.
    """
    edges: dict[str, set[str]] = {}
    for line in _read(root, "dag", "--dot").splitlines():
        match = _NODE.match(line.strip())
        if match is None or match["stage"].endswith(".dvc"):  # a tracked file: nothing to run
            continue
        edges.setdefault(match["stage"], set())
        if match["below"] is not None:
            edges.setdefault(match["below"], set()).add(match["stage"])
    return edges


def repro_command(stage: str, force: bool = False) -> list[str]:
    """The command that brings one stage up to date; safe while others do the same for other stages."""
    return dvc("--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), stage)


def _is_of(name: str, target: str) -> bool:
    return name == target or name.startswith(f"{target}-" if "@" in target else f"{target}@")


def _read(root: Path, *arguments: str) -> str:
    result = subprocess.run(dvc(*arguments), cwd=root, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ValueError(f"dvc {' '.join(arguments)} failed in {root}:\n{result.stderr.strip()}")
    return result.stdout
