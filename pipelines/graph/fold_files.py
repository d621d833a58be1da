"""The graph in line with params.yaml: a dvc.yaml per evaluated dataset, for its folds, and what `pretrain` reads.

DVC fills in one value of params.yaml at a place, not a list: the inputs of a pre-training on several datasets are
written out. Of a single one they stay a template, so that ``--set-param pretrain.dataset=...`` works.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from hicmae import layout
from hicmae_core.config import Params, load_params
from hicmae_core.files import write_text

_DATASET = "DATASET"
_FOLD = "FOLD"
"""A line that has it is written once for each fold."""
_PLOT = "PLOT"
_CHOSEN = "${pretrain.dataset}"
_INPUTS = re.compile(r"(      # The clips of pretrain\.dataset[^\n]*\n)((?:      - data/[^\n]*\n)*)")
"""Of the stage `pretrain` in dvc.yaml: the comment, and the lines after it."""


def complete_folds(values: dict[str, Any]) -> None:
    """Give labelled datasets that have no `folds` all of theirs, and forget the folds of datasets that are gone."""
    folds, datasets = values["folds"], values["dataset"]
    for name in [name for name in folds if name not in datasets]:
        del folds[name]
    for name, entry in datasets.items():
        if name not in folds and entry.get("num_folds"):
            folds[name] = all_folds(entry["num_folds"])


def all_folds(num_folds: int) -> CommentedSeq:
    """1 to `num_folds`, for params.yaml."""
    folds = CommentedSeq(range(1, num_folds + 1))
    folds.fa.set_flow_style()
    return folds


def write_graphs(root: Path, params: Params) -> None:
    """Write ``folds/<dataset>/dvc.yaml`` for each evaluated dataset, and remove those of all others.

    Their dvc.lock stay, so that a dataset that comes back finds its results. The inputs of `pretrain` in dvc.yaml
    become those of ``pretrain.dataset``.
    """
    graph = root / "dvc.yaml"
    text = graph.read_text(encoding="utf-8")
    wanted = _INPUTS.sub(lambda match: match[1] + _pretraining_inputs(params), text)
    if wanted != text:
        write_text(graph, wanted)
    template = (root / layout.FOLDS / "template.yaml").read_text(encoding="utf-8")
    for name, folds in params.folds.items():
        write_text(root / layout.FOLDS / name / "dvc.yaml", _fill(template, name, folds, params.dataset[name].task))
    for name in _datasets_with_graphs(root) - set(params.evaluated):
        (root / layout.FOLDS / name / "dvc.yaml").unlink()


def check_graphs(root: Path) -> None:
    """Check that the graph is in line with `folds`, `dataset` and `pretrain` of params.yaml, which people edit.

    Raises:
        ValueError: If params.yaml is not valid, a dataset has no ``folds/<dataset>/dvc.yaml``, or one too many, or
            `pretrain` in dvc.yaml reads other datasets.
    """
    params = load_params(root / "params.yaml")
    written_inputs = _INPUTS.search((root / "dvc.yaml").read_text(encoding="utf-8"))
    if written_inputs and written_inputs[2] != _pretraining_inputs(params):
        raise ValueError(
            f"`pretrain.dataset` in params.yaml names {_listed(params.pretrain.dataset)}, but the stage `pretrain` "
            "in dvc.yaml reads other clips: run `python -m pipelines.project.datasets`"
        )
    evaluated, written = set(params.evaluated), _datasets_with_graphs(root)
    if evaluated != written:
        raise ValueError(
            f"`folds` in params.yaml names {_listed(evaluated)}, folds/*/dvc.yaml are there for {_listed(written)}: "
            "run `python -m pipelines.project.datasets`"
        )


def _fill(template: str, name: str, folds: Sequence[int], task: str) -> str:
    lines = template.replace(_DATASET, name).replace(_PLOT, "scatter" if task == "regression" else "confusion")
    return "".join(
        line.replace(_FOLD, str(fold))
        for line in lines.splitlines(keepends=True)
        for fold in (folds if _FOLD in line else folds[:1])
    )


def _pretraining_inputs(params: Params) -> str:
    """The lines of dvc.yaml for what `pretrain` reads."""
    chosen = params.pretrain.dataset
    folders = "data/manifests/{}.parquet", "data/faces/{}", "data/audio/{}"
    names = [_CHOSEN] if len(chosen) == 1 else list(chosen)
    return "".join(f"      - {folder.format(name)}\n" for name in names for folder in folders)


def _datasets_with_graphs(root: Path) -> set[str]:
    return {path.parent.name for path in (root / layout.FOLDS).glob("*/dvc.yaml")}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
