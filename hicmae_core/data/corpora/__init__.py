"""Corpus adapters: each knows how one corpus names its files and labels.

To add a corpus, add a module with an object that has the shape of `base.Corpus`, and its line to `CORPORA`.
A corpus that can be described by one CSV file needs no code: use ``csv``.
"""

from __future__ import annotations

from hicmae_core.data.corpora.base import Corpus
from hicmae_core.data.corpora.csv_table import CSV
from hicmae_core.data.corpora.demo import DEMO, DEMO_UNLABELLED

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in (CSV, DEMO, DEMO_UNLABELLED)}


def corpus_named(name: str) -> Corpus:
    """The adapter of that name.

    Raises:
        ValueError: Listing the known names, if there is none.
    """
    if name not in CORPORA:
        known = "; ".join(f"{corpus.name} ({corpus.description})" for corpus in CORPORA.values())
        raise ValueError(f"no corpus adapter `{name}`; there are: {known}")
    return CORPORA[name]
