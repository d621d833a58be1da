"""All corpora and ready-made datasets, by name."""

from __future__ import annotations

from collections.abc import Mapping

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.avcaffe import AVCAFFE
from hicmae_core.corpora.base import Corpus
from hicmae_core.corpora.counts import Expected
from hicmae_core.corpora.crema_d import CREMA_D
from hicmae_core.corpora.csv_table import CSV
from hicmae_core.corpora.demo import DEMO, DEMO_UNLABELLED
from hicmae_core.corpora.dfew import DFEW
from hicmae_core.corpora.iemocap import IEMOCAP
from hicmae_core.corpora.javanese import JAVANESE
from hicmae_core.corpora.mafw import MAFW
from hicmae_core.corpora.mer2023 import MER2023
from hicmae_core.corpora.msp_improv import MSP_IMPROV
from hicmae_core.corpora.ravdess import RAVDESS
from hicmae_core.corpora.ready_made import READY_MADE
from hicmae_core.corpora.voxceleb2 import VOXCELEB2
from hicmae_core.corpora.werewolf_xl import WEREWOLF_XL

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        CREMA_D,
        JAVANESE,
        RAVDESS,
        MSP_IMPROV,
        IEMOCAP,
        MAFW,
        DFEW,
        MER2023,
        WEREWOLF_XL,
        AVCAFFE,
        VOXCELEB2,
        CSV,
        DEMO,
        DEMO_UNLABELLED,
    )
}
_ALSO_CALLED = {"crema_d_6": "crema_d", "mafw_11": "mafw", "mer_multi": "mer2023"}


def corpus_named(name: str) -> Corpus:
    """The adapter of that name.

    Raises:
        ValueError: Listing the known names, if there is none.
    """
    if name not in CORPORA:
        known = "; ".join(f"{corpus.name} ({corpus.description})" for corpus in CORPORA.values())
        raise ValueError(f"no corpus adapter `{name}`; there are: {known}")
    return CORPORA[name]


def dataset_named(name: str, datasets: Mapping[str, DatasetParams]) -> tuple[str, DatasetParams]:
    """A dataset by its name, whatever its case and without regard to ``-`` and ``_``.

    Args:
        name: Such as ``CREMA-D`` for ``crema_d``.
        datasets: Those of params.yaml, which come first; ready-made ones follow.

    Returns:
        Its proper name, and how it is read.

    Raises:
        ValueError: Listing the known names, if there is none.
    """
    ready_made = {known: made.params for known, made in READY_MADE.items()}
    ready_made |= {other: ready_made[known] for other, known in _ALSO_CALLED.items()}
    if name in datasets:
        return name, datasets[name]
    for choice in (datasets, ready_made):
        for known, params in choice.items():
            if _plain(known) == _plain(name):
                return _ALSO_CALLED.get(known, known) if choice is ready_made else known, params
    raise ValueError(
        f"no dataset `{name}` in params.yaml; there are: {', '.join(datasets)}; "
        f"and without an entry in it: {', '.join(READY_MADE)}"
    )


def published_counts(dataset: DatasetParams) -> tuple[Expected, ...]:
    """What a full download of a dataset must have, if it asks the question of a ready-made one; else nothing."""
    for made in READY_MADE.values():
        if _question(made.params) == _question(dataset):
            return made.published
    return ()


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _question(dataset: DatasetParams) -> tuple[object, ...]:
    corpus = CORPORA.get(dataset.corpus)
    labels = dataset.labels or (corpus.labellings[0] if corpus and corpus.labellings else "")
    return dataset.corpus, dataset.task, frozenset(dataset.classes), frozenset(dataset.targets), labels
