"""`hicmae corpora`: what to download, where from, and how to use it."""

from __future__ import annotations

from typing import Annotated

import typer

from hicmae.models import params_here
from hicmae_core.corpora.catalogue import catalogue
from hicmae_core.corpora.registry import dataset_named

EXAMPLES = """
hicmae corpora
hicmae corpora CREMA-D
"""


def main(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A dataset of params.yaml, or a ready-made one such as ravdess.", show_default="all"
        ),
    ] = None,
) -> None:
    """Print of each corpus, or of one, as Markdown: download, licence, layout, folds, metrics, datasets."""
    params = params_here()
    found = dataset_named(name, params.dataset if params else {})[1] if name else None
    print(catalogue(found.corpus if found else None), end="")
