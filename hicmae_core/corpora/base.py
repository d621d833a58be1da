"""What the file of a corpus holds, and a reader of folds that are lists which come with the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from hicmae_core.config import DatasetParams, Task
from hicmae_core.corpora.listing import Folder
from hicmae_core.corpora.published import Expected, PublishedResult

ReadFn = Callable[[Folder, DatasetParams], pd.DataFrame]
"""Lists a corpus: a row per clip with ``clip_id``; ``video_path`` and ``audio_path`` relative to the folder, the same
where one file holds both, and where a file should be if it is not there; ``subject``, null where unknown;
``label_name``; ``test_fold``, the 1-based fold in which the clip is tested, null for never; a ``target_<name>`` for
each of the dataset's targets; where clips are not scored one by one, their ``unit``, null for the clip itself; where
it is known, the speaker's ``group``, such as the sex; where the video is a folder of face frames, ``clip_path``, the
video file they were taken from, and ``fps``, each null where unknown; and, for clips that are known to be unusable,
``status`` and ``reason``. It opens no media file, raises a ValueError if the folder does not hold what it reads, and
says in `Folder.notes` what was not used."""

ReadListFn = Callable[[Path], Iterator[tuple[int, str, str]]]
"""Reads a list: line number, clip id and label name."""


class About(NamedTuple):
    """What a person who wants to use a corpus must know; `catalogue` renders it."""

    title: str
    """The corpus's full name and paper."""
    download: str
    """What to download."""
    source: str
    """Where from."""
    licence: str
    """Its terms."""
    layout: tuple[str, ...]
    """Example paths below the raw folder."""
    folds: str
    """How it is split."""
    metrics: str
    """Headline metrics of the literature."""
    confirmed: str
    """Which of these facts were checked, against what."""
    unconfirmed: str
    """Which were not."""


class ReadyMade(NamedTuple):
    """A dataset that needs no entry in params.yaml."""

    params: DatasetParams
    """Its entry."""
    counts: tuple[Expected, ...] = ()
    """How many clips a full download has, as published."""
    results: tuple[PublishedResult, ...] = ()
    """Published numbers on these classes and labels, ours to reproduce first."""
    also_called: tuple[str, ...] = ()
    """Further names that users may give."""


@dataclass(frozen=True)
class Corpus:
    """Reads a raw folder's names and labels, and says what is known of the corpus.

    Attributes:
        name: The adapter's name in params.yaml.
        description: A few words on what it reads.
        read: See `ReadFn`.
        label_names: Every class that the corpus has. Clips of those which a dataset does not use are left out of its
            manifest; a label that is not among them is a mistake.
        labellings: What ``dataset.<name>.labels`` may be, the default first, where the corpus has several.
        about: What people read about it; None where there is nothing to download.
        datasets: Its ready-made datasets, by name.
        not_comparable: Tasks whose results no published numbers may stand beside, and why, in a sentence.
    """

    name: str
    description: str
    read: ReadFn
    label_names: tuple[str, ...] = ()
    labellings: tuple[str, ...] = ()
    about: About | None = None
    datasets: Mapping[str, ReadyMade] = field(default_factory=dict)
    not_comparable: Mapping[Task, str] = field(default_factory=dict)

    def check_labelling(self, labels: str) -> None:
        """Raise a ValueError if the corpus has no labelling of that name; the empty name is the default."""
        if labels and labels not in self.labellings:
            known = f"there are: {', '.join(self.labellings)}" if self.labellings else "leave `labels` out"
            raise ValueError(f"corpus {self.name} has no labels `{labels}`; {known}")


def read_splits(
    folder: Folder, dataset: DatasetParams, file_of: Callable[[str, int], str], read_list: ReadListFn
) -> pd.DataFrame:
    """Labels and folds from all lists.

    Args:
        folder: The raw folder.
        dataset: Its number of folds; with `allow_incomplete` lists may be missing, but not all.
        file_of: Where the list of ``train`` or ``test`` and a fold is, at any depth.
        read_list: See `ReadListFn`.

    Returns:
        ``clip_id``, ``label_name`` and ``test_fold``, sorted by clip.

    Raises:
        ValueError: If a list is missing or damaged, or lists contradict each other.
    """
    labels: dict[str, str] = {}
    tested: dict[str, int] = {}
    for fold in range(1, dataset.num_folds + 1):
        listed: set[str] = set()
        for part in ("train", "test"):
            found = folder.find(file_of(part, fold))
            if found is None and dataset.allow_incomplete:
                continue
            if found is None:
                raise ValueError(f"{folder.root}: there is no {file_of(part, fold)}; it comes with the corpus's labels")
            path = folder.root / found
            for line, clip_id, label in read_list(path):
                if labels.setdefault(clip_id, label) != label:
                    raise ValueError(f"{path}, line {line}: {clip_id} is {label}, but {labels[clip_id]} elsewhere")
                if clip_id in listed:
                    raise ValueError(f"{path}, line {line}: {clip_id} is listed twice in fold {fold}")
                listed.add(clip_id)
                if part == "test" and tested.setdefault(clip_id, fold) != fold:
                    raise ValueError(f"{path}, line {line}: {clip_id} is tested in fold {tested[clip_id]}, too")
    if not labels:
        raise ValueError(f"{folder.root}: there is no {file_of('test', 1)}; it comes with the corpus's labels")
    clip_ids = sorted(labels)
    return pd.DataFrame(
        {
            "clip_id": clip_ids,
            "label_name": [labels[clip_id] for clip_id in clip_ids],
            "test_fold": pd.array([tested.get(clip_id) for clip_id in clip_ids], dtype="Int64"),
        }
    )
