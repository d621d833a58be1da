"""Which clips train and which test.

`split` gives what training may see, `test_clips` what evaluation opens once: two functions, so that code which
selects an epoch or a setting is never handed the test fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from hicmae_core.config import DatasetParams


@dataclass(frozen=True)
class FoldSplit:
    """Clip ids of a fold's training part.

    Attributes:
        train: Clips to learn from.
        validation: Held-out clips of other speakers to choose the epoch by; None if it is not chosen.
    """

    train: list[str]
    validation: list[str] | None


def split(
    manifest: pd.DataFrame,
    fold: int,
    dataset: DatasetParams,
    selection: Literal["last", "validation"],
    validation_fraction: float,
    seed: int,
) -> FoldSplit:
    """The clips that are not tested in `fold`.

    Args:
        manifest: Usable clips.
        fold: The test fold, 1-based.
        dataset: Its classes and number of folds.
        selection: ``validation`` holds a part out.
        validation_fraction: Share of the speakers held out; where no speaker is known, of each class's clips.
        seed: Decides who is held out, together with `fold`.

    Raises:
        ValueError: If the fold is out of range, a speaker is both trained on and tested, or a class is missing from
            either part.
    """
    _check_fold(manifest, fold, dataset)
    train = manifest[~_is_tested(manifest, fold)]
    if selection == "last":
        return FoldSplit(list(train["clip_id"]), None)
    held_out = _held_out(train, validation_fraction, np.random.default_rng([seed, fold]))
    kept = train[~held_out]
    _check_classes(kept, dataset, f"the training part of fold {fold} without its validation speakers")
    return FoldSplit(list(kept["clip_id"]), list(train.loc[held_out, "clip_id"]))


def test_clips(manifest: pd.DataFrame, fold: int) -> list[str]:
    """Ids of the clips tested in `fold`, 1-based.

    Raises:
        ValueError: If there are none.
    """
    tested = manifest.loc[_is_tested(manifest, fold), "clip_id"]
    if tested.empty:
        folds = ", ".join(str(number) for number in sorted(manifest["test_fold"].dropna().unique()))
        raise ValueError(f"fold {fold} has no test clips; there are folds {folds}")
    return list(tested)


def check_folds(manifest: pd.DataFrame, dataset: DatasetParams) -> None:
    """Check all of a dataset's folds as `split` does each.

    Args:
        manifest: Usable clips.
        dataset: Its classes and number of folds.

    Raises:
        ValueError: As `split`, and if a clip's fold is out of range.
    """
    beyond = manifest[~manifest["test_fold"].between(1, dataset.num_folds).fillna(True).astype(bool)]
    if len(beyond):
        row = beyond.iloc[0]
        raise ValueError(
            f"{len(beyond)} clips have a fold outside 1 to {dataset.num_folds}, such as {row['clip_id']} with fold "
            f"{row['test_fold']}; mend the folds or num_folds"
        )
    for fold in range(1, dataset.num_folds + 1):
        _check_fold(manifest, fold, dataset)


def _is_tested(manifest: pd.DataFrame, fold: int) -> pd.Series:
    return (manifest["test_fold"] == fold).fillna(False).astype(bool)


def _check_fold(manifest: pd.DataFrame, fold: int, dataset: DatasetParams) -> None:
    if not 1 <= fold <= dataset.num_folds:
        raise ValueError(f"fold {fold} is out of range: this dataset has folds 1 to {dataset.num_folds}")
    tested = _is_tested(manifest, fold)
    both = set(manifest.loc[tested, "subject"].dropna()) & set(manifest.loc[~tested, "subject"].dropna())
    if both:
        names = ", ".join(sorted(both)[:5])
        raise ValueError(
            f"fold {fold}: {len(both)} speakers are both trained on and tested ({names}); "
            "give all clips of a speaker the same fold"
        )
    _check_classes(manifest[tested], dataset, f"the test part of fold {fold}")
    _check_classes(manifest[~tested], dataset, f"the training part of fold {fold}")


def _check_classes(rows: pd.DataFrame, dataset: DatasetParams, part: str) -> None:
    if rows.empty:
        raise ValueError(f"{part} has no clips")
    present = set(rows["label"].dropna())
    absent = [name for label, name in enumerate(dataset.classes) if label not in present]
    if absent:
        raise ValueError(f"{part} has no clip of class {', '.join(absent)}; mend the folds or the class list")


def _held_out(train: pd.DataFrame, fraction: float, rng: np.random.Generator) -> pd.Series:
    """Which rows validate: whole speakers (a clip of an unknown one is its own), else clips of each class."""
    if train["subject"].notna().any():
        groups = train["subject"].fillna(train["clip_id"])
        return groups.isin(_draw(np.array(sorted(set(groups))), fraction, rng))
    labels = train["label"].fillna(0)
    chosen = [_draw(train.loc[labels == label, "clip_id"].to_numpy(), fraction, rng) for label in sorted(set(labels))]
    return train["clip_id"].isin(np.concatenate(chosen))


def _draw(values: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """`fraction` of `values`, at least one."""
    return rng.permutation(values)[: max(1, round(fraction * len(values)))]
