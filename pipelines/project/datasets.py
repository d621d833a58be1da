"""The datasets of the project: an entry in params.yaml, a link under data/raw, a dvc.yaml for the folds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from hicmae import layout
from hicmae.command import run
from hicmae_core.config import DatasetParams, load_params
from hicmae_core.corpora.csv_table import TABLE, proposed_dataset
from hicmae_core.corpora.registry import dataset_named
from pipelines.graph.fold_files import all_folds, check_graphs, complete_folds
from pipelines.project.configure import edit, rewrite

EXAMPLES = """
python -m pipelines.project.datasets    # after an entry was added to `dataset` in params.yaml, or removed
"""


def add_dataset(root: Path, name: str, folder: Path) -> None:
    """Take a folder of clips into the project as a dataset. What is there already stays as it is.

    Args:
        root: The project.
        name: A name of params.yaml, a published corpus such as ``crema_d``, or a new one, of a folder with a
            manifest.csv.
        folder: Its raw files.

    Raises:
        ValueError: If there is no such folder, it holds no description of a new dataset, or data/raw has other files
            under this name.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    entry = _entry(root, name, folder)
    _link(root / layout.raw_folder(name), folder.resolve())

    def add(values: dict[str, Any]) -> None:
        values["dataset"].setdefault(name, entry.model_dump(mode="json", exclude_defaults=True))
        complete_folds(values)

    _rewrite(root, add)


def evaluate_alone(root: Path, name: str, folds: list[int], settings: dict[str, Any]) -> None:
    """Make a dataset of params.yaml the one that is evaluated.

    Args:
        root: The project.
        name: The dataset.
        folds: 1-based; empty for all.
        settings: Further values of the section ``finetune``.

    Raises:
        ValueError: If params.yaml does not know the dataset, or would not be valid.
    """
    every = all_folds(known_dataset(root, name).num_folds)

    def change(values: dict[str, Any]) -> None:
        values["folds"] = {name: folds or every}
        values["finetune"].update(settings)

    _rewrite(root, change)


def known_dataset(root: Path, name: str) -> DatasetParams:
    """A dataset of params.yaml.

    Raises:
        ValueError: If params.yaml does not know it.
    """
    datasets = load_params(root / "params.yaml").dataset
    if name not in datasets:
        raise ValueError(f"no dataset `{name}` in params.yaml; there are: {', '.join(datasets)}")
    return datasets[name]


def _entry(root: Path, name: str, folder: Path) -> DatasetParams:
    """How the dataset is read: as params.yaml says, as the corpus of that name is, or as its table suggests."""
    table = folder / TABLE
    try:
        return dataset_named(name, load_params(root / "params.yaml").dataset)[1]
    except ValueError:
        if not table.is_file():
            raise ValueError(
                f"`{name}` is no published corpus, and {table} is not there; docs/own-dataset.md describes the file"
            ) from None
    return proposed_dataset(folder)


def _link(place: Path, folder: Path) -> None:
    if place.is_symlink() or place.exists():
        if place.resolve() != folder:
            raise ValueError(f"{place} is there already, and it is not {folder}: move it away, or take another name")
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    project = place.parents[len(layout.RAW.parts)].resolve()
    inside = folder.is_relative_to(project)  # the project may be moved with it
    place.symlink_to(os.path.relpath(folder, place.parent.resolve()) if inside else folder)


def _rewrite(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    rewrite(root, lambda text: edit(text, change, str(root / "params.yaml")))


def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail where they disagree.")] = False,
) -> None:
    """Complete `folds` in params.yaml, and write a dvc.yaml for each dataset's folds."""
    if check:
        check_graphs(Path())
        return
    _rewrite(Path(), complete_folds)
    folds = load_params().folds.items()
    listed = ", ".join(f"{name} in {len(chosen)} folds" for name, chosen in folds) or "nothing"
    print(f"fine-tuned and evaluated: {listed}", file=sys.stderr)


if __name__ == "__main__":
    run(main, EXAMPLES)
