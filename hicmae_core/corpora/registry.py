"""All corpora by name, and what is found in them: datasets, published counts and published results.

To add a corpus, import it here: every `Corpus` that this module imports is known. Pages list them in this order.
"""

from __future__ import annotations

from collections.abc import Mapping

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.base import Corpus, ReadyMade
from hicmae_core.corpora.published import Expected, PublishedResult

# isort: off
from hicmae_core.corpora.crema_d import CREMA_D as CREMA_D
from hicmae_core.corpora.javanese import JAVANESE as JAVANESE
from hicmae_core.corpora.ravdess import RAVDESS as RAVDESS
from hicmae_core.corpora.msp_improv import MSP_IMPROV as MSP_IMPROV
from hicmae_core.corpora.iemocap import IEMOCAP as IEMOCAP
from hicmae_core.corpora.mafw import MAFW as MAFW
from hicmae_core.corpora.dfew import DFEW as DFEW
from hicmae_core.corpora.mer2023 import MER2023 as MER2023
from hicmae_core.corpora.werewolf_xl import WEREWOLF_XL as WEREWOLF_XL
from hicmae_core.corpora.avcaffe import AVCAFFE as AVCAFFE
from hicmae_core.corpora.voxceleb2 import VOXCELEB2 as VOXCELEB2
from hicmae_core.corpora.csv_table import CSV as CSV
from hicmae_core.corpora.demo import DEMO as DEMO, DEMO_UNLABELLED as DEMO_UNLABELLED
# isort: on

CORPORA: dict[str, Corpus] = {value.name: value for value in list(globals().values()) if isinstance(value, Corpus)}
READY_MADE: dict[str, ReadyMade] = {name: made for corpus in CORPORA.values() for name, made in corpus.datasets.items()}


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
    if name in datasets:
        return name, datasets[name]
    for known, params in datasets.items():
        if _plain(known) == _plain(name):
            return known, params
    for known, made in READY_MADE.items():
        if _plain(name) in map(_plain, (known, *made.also_called)):
            return known, made.params
    raise ValueError(
        f"no dataset `{name}` in params.yaml; there are: {', '.join(datasets)}; "
        f"and without an entry in it: {', '.join(READY_MADE)}"
    )


def published_counts(dataset: DatasetParams) -> tuple[Expected, ...]:
    """What a full download of a dataset must have, if it asks the question of a ready-made one; else nothing."""
    for made in READY_MADE.values():
        if _question(made.params) == _question(dataset):
            return made.counts
    return ()


def published_results(name: str) -> tuple[PublishedResult, ...]:
    """Published numbers for a dataset, ours to reproduce first; empty where there are none."""
    return READY_MADE[name].results if name in READY_MADE else ()


def results_beside(name: str, dataset: DatasetParams, shown: str) -> tuple[tuple[PublishedResult, ...], str]:
    """The published numbers that may stand beside a dataset's results, or why there are none, if there is a reason.

    Beside drawn faces none may; results of their audio are compared with those of others on the same corpus.

    Args:
        name: The dataset's name.
        dataset: How it is read.
        shown: The modality that the models were shown.
    """
    if dataset.faces != "drawn":
        why = why_not_comparable(name, dataset)
        return (() if why else published_results(name)), why
    if shown != "audio":
        why = "The faces are drawn, not filmed: published numbers are another measurement, those of the voice apart."
        return (), why
    why = why_not_comparable(dataset.corpus, dataset)
    audio_only = tuple(result for result in published_results(dataset.corpus) if result.modality == "audio")
    return (() if why else audio_only), why


def why_not_comparable(name: str, dataset: DatasetParams) -> str:
    """Why no published number stands beside a dataset's results, in a sentence; empty where it may.

    Args:
        name: The dataset's name, of which `published_results` are.
        dataset: How it is read; of the corpus ``csv`` nobody knows what its labels are.
    """
    corpus = CORPORA.get(dataset.corpus)
    if corpus and dataset.task in corpus.not_comparable:
        return corpus.not_comparable[dataset.task]
    if not published_results(name):
        return ""
    published = READY_MADE[name].params
    wanted, there = (0 if params.task == "regression" else len(params.classes) for params in (published, dataset))
    if wanted != there:
        kinds = [f"{number} classes" if number else "values" for number in (wanted, there)]
        return f"The published numbers of `{name}` are of {kinds[0]}, ours of {kinds[1]}: another measurement."
    if not published.labels or dataset.corpus == CSV.name or _labels(dataset, published.corpus) == published.labels:
        return ""
    ours = f"`{dataset.labels}`" if dataset.labels else "the corpus's first ones"
    theirs = f"The published numbers of `{name}` are on the labels `{published.labels}`"
    return f"{theirs}, ours on {ours}: another measurement."


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _labels(dataset: DatasetParams, corpus_name: str) -> str:
    """The labelling that a dataset reads, the corpus's first one by its name; empty where the corpus has but one."""
    labellings = CORPORA[corpus_name].labellings if corpus_name in CORPORA else ()
    return dataset.labels or next(iter(labellings), "")


def _question(dataset: DatasetParams) -> tuple[object, ...]:
    labels = _labels(dataset, dataset.corpus)
    return dataset.corpus, dataset.task, frozenset(dataset.classes), frozenset(dataset.targets), labels
