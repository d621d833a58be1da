"""Corpora whose folds are lists that come with them: a train and a test list per fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from hicmae_core.config import DatasetParams
from hicmae_core.data.corpora.listing import Folder

ReadListFn = Callable[[Path], Iterator[tuple[int, str, str]]]
"""Reads a list: line number, clip id and label name."""


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
