"""One dvc.yaml per evaluated dataset, for its folds, in line with params.yaml."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from hicmae_core.files import write_text
from stages import layout

_PLACEHOLDER = "DATASET"


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


def write_graphs(root: Path, evaluated: Iterable[str]) -> None:
    """Write ``folds/<dataset>/dvc.yaml`` for each evaluated dataset, and remove those of all others.

    Their dvc.lock stay, so that a dataset that comes back finds its results.
    """
    template = (root / layout.FOLDS / "template.yaml").read_text(encoding="utf-8")
    wanted = {root / layout.FOLDS / name / "dvc.yaml": template.replace(_PLACEHOLDER, name) for name in evaluated}
    for path, text in wanted.items():
        write_text(path, text)
    for path in (root / layout.FOLDS).glob("*/dvc.yaml"):
        if path not in wanted:
            path.unlink()
