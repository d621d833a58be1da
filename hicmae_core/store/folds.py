"""Which clips train and which test.

`split` gives what training may see, `test_clips` what evaluation opens once: two functions, so that code which
selects an epoch or a setting is never handed the test fold.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hicmae_core.config import DatasetParams

_log = logging.getLogger(__name__)


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
        dataset: Its classes, targets and number of folds.
        selection: ``validation`` holds a part out.
        validation_fraction: Share of the speakers held out; where no speaker is known, of the units, such that each
            class (combination of classes, or of values) has its share to within one unit. No unit is in both parts.
        seed: Decides who is held out, together with `fold`.

    Raises:
        ValueError: If the fold is out of range, either part is empty, a speaker or unit is both trained on and tested,
            or a class is missing from either part, which with `dataset.allow_incomplete` is a warning.
    """
    _check_range(fold, dataset)
    _check_fold(manifest, fold, dataset)
    train = manifest[~_is_tested(manifest, fold)]
    if selection == "last":
        return FoldSplit(train["clip_id"].tolist(), None)
    held_out = _held_out(train, dataset, validation_fraction, np.random.default_rng([seed, fold]))
    kept = train[~held_out]
    _check_part(kept, dataset, f"the training part of fold {fold} without its validation speakers")
    return FoldSplit(kept["clip_id"].tolist(), train.loc[held_out, "clip_id"].tolist())


def few_labels(
    manifest: pd.DataFrame, clip_ids: Sequence[str], dataset: DatasetParams, fraction: float, seed: int, fold: int
) -> list[str]:
    """A share of the training clips, as if no more had been labelled: whole units, which are what labels are given to.

    Args:
        manifest: Usable clips.
        clip_ids: The training clips.
        dataset: Its classes and targets.
        fraction: Share of each class's (combination of classes') units, at least one of each; of all units, in a
            regression. A larger share holds all units of a smaller one.
        seed: Decides which units, together with `fold`.
        fold: The test fold, 1-based.

    Returns:
        Ids in the order of `clip_ids`.
    """
    clips = manifest.set_index("clip_id").loc[list(clip_ids)]
    rows = clips.drop_duplicates("unit")
    shuffled = rows.iloc[np.random.default_rng([seed, fold, len("few labels")]).permutation(len(rows))]
    labels = [np.zeros(len(rows))] if dataset.task == "regression" else _label_columns(dataset)
    groups = shuffled.groupby(labels, dropna=False)
    wanted = (fraction * groups["test_fold"].transform("size")).round().clip(lower=1)
    chosen = shuffled.loc[groups.cumcount() < wanted, "unit"]
    return [str(clip_id) for clip_id in clips.index[clips["unit"].isin(chosen)]]


def training_parts(
    manifest: pd.DataFrame,
    fold: int,
    dataset: DatasetParams,
    selection: Literal["last", "validation"],
    validation_fraction: float,
    label_fraction: float,
    seed: int,
) -> FoldSplit:
    """As `split`, with the share `label_fraction` of the training clips alone (`few_labels`)."""
    parts = split(manifest, fold, dataset, selection, validation_fraction, seed)
    return FoldSplit(few_labels(manifest, parts.train, dataset, label_fraction, seed, fold), parts.validation)


def test_clips(manifest: pd.DataFrame, fold: int) -> list[str]:
    """Ids of the clips tested in `fold`, 1-based.

    Raises:
        ValueError: If there are none.
    """
    tested = manifest.loc[_is_tested(manifest, fold), "clip_id"]
    if tested.empty:
        folds = ", ".join(str(number) for number in sorted(manifest["test_fold"].dropna().unique()))
        raise ValueError(f"fold {fold} has no test clips; there are folds {folds}")
    result: list[str] = tested.tolist()
    return result


def check_folds(manifest: pd.DataFrame, dataset: DatasetParams) -> None:
    """Check all of a dataset's folds as `split` does each. Speakers whose names differ in case only are one.

    Args:
        manifest: Usable clips.
        dataset: Its classes, targets and number of folds.

    Raises:
        ValueError: As `split`, and if a clip's fold is out of range, or the clips of a unit differ in subject, label or
            fold. With `dataset.allow_incomplete` a fold without test or training clips is passed over with a warning.
    """
    _check_units(manifest, dataset)
    beyond = manifest[~manifest["test_fold"].between(1, dataset.num_folds).fillna(True).astype(bool)]
    if len(beyond):
        row = beyond.iloc[0]
        raise ValueError(
            f"{len(beyond)} clips have a fold outside 1 to {dataset.num_folds}, such as {row['clip_id']} with fold "
            f"{row['test_fold']}; fix the folds (they count from 1) or num_folds"
        )
    for fold in range(1, dataset.num_folds + 1):
        if dataset.allow_incomplete and _is_tested(manifest, fold).nunique() < 2:
            _log.warning("fold %d has no clips to test or none to train on: it cannot be run", fold)
            continue
        _check_fold(manifest, fold, dataset)


def _is_tested(manifest: pd.DataFrame, fold: int) -> pd.Series:
    return (manifest["test_fold"] == fold).fillna(False).astype(bool)


def _check_range(fold: int, dataset: DatasetParams) -> None:
    if not 1 <= fold <= dataset.num_folds:
        raise ValueError(f"fold {fold} is out of range: this dataset has folds 1 to {dataset.num_folds}")


def _check_fold(manifest: pd.DataFrame, fold: int, dataset: DatasetParams) -> None:
    tested = _is_tested(manifest, fold)
    both = set(manifest.loc[tested, "subject"].dropna()) & set(manifest.loc[~tested, "subject"].dropna())
    if both:
        clips = manifest[manifest["subject"] == min(both)]
        tested_one, other = (clips.loc[part, "clip_id"].iloc[0] for part in (tested, ~tested))
        raise ValueError(
            f"fold {fold}: {len(both)} speakers are both trained on and tested ({', '.join(sorted(both)[:5])}), such "
            f"as {min(both)} ({tested_one} tested, {other} not); give all clips of a speaker the same fold"
        )
    units = set(manifest.loc[tested, "unit"]) & set(manifest.loc[~tested, "unit"])
    if units:
        clips = manifest[manifest["unit"] == min(units)]
        tested_ones, others = (", ".join(clips.loc[part, "clip_id"].head(5)) for part in (tested, ~tested))
        raise ValueError(
            f"fold {fold}: {len(units)} units are both trained on and tested, such as unit {min(units)} "
            f"({tested_ones} tested, {others} not); give all clips of a unit the same fold"
        )
    _check_part(manifest[tested], dataset, f"the test part of fold {fold}")
    _check_part(manifest[~tested], dataset, f"the training part of fold {fold}")


def _check_units(manifest: pd.DataFrame, dataset: DatasetParams) -> None:
    """Demand that the clips of a unit have one subject, label and fold: they are scored as one."""
    words = {"subject": "subject", **{column: column.replace("_", " ") for column in _label_columns(dataset)}}
    repeated = manifest[manifest["unit"].duplicated(keep=False)]
    for column, word in {**words, "test_fold": "fold"}.items():
        numbers = repeated.groupby("unit", sort=False)[column].nunique(dropna=False)
        torn = numbers.index[numbers > 1]
        if not len(torn):
            continue
        differing = [
            f"{_in_words(value, column, dataset)} of {', '.join(clips['clip_id'].head(5))}"
            for value, clips in repeated[repeated["unit"] == torn[0]].groupby(column, sort=False, dropna=False)
        ]
        raise ValueError(
            f"unit {torn[0]} has clips that differ in their {word}: {'; '.join(differing)} (units of this kind: "
            f"{len(torn)}); a unit is scored as one: give its clips one {word}, or units of their own"
        )


def _in_words(value: Any, column: str, dataset: DatasetParams) -> str:
    if pd.isna(value):
        return "none"
    is_class = bool(dataset.classes) and column in _label_columns(dataset)
    return dataset.classes[int(value)] if is_class else str(value)


def _check_part(rows: pd.DataFrame, dataset: DatasetParams, part: str) -> None:
    if rows.empty:
        raise ValueError(f"{part} has no clips")
    if dataset.task == "regression":
        return
    problems = []
    for target, column in zip(dataset.targets or ("",), _label_columns(dataset), strict=True):
        present = set(rows[column].dropna().unique())
        absent = [name for label, name in enumerate(dataset.classes) if label not in present]
        if absent:
            problems.append(f"class {', '.join(absent)}" + (f" of target {target}" if target else ""))
    if not problems:
        return
    text = f"{part} has no clip of {', nor of '.join(problems)}"
    if not dataset.allow_incomplete:
        raise ValueError(f"{text}; fix the folds or the class list, or set allow_incomplete")
    _log.warning(text)


def _label_columns(dataset: DatasetParams) -> list[str]:
    """The manifest's columns that hold what is predicted."""
    return [f"target_{name}" for name in dataset.targets] or ["label"]


def _held_out(
    train: pd.DataFrame, dataset: DatasetParams, fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which rows validate: whole speakers (a unit of an unknown one is its own), else a stratified share of the units.

    Stratified: the units, shuffled and then sorted by label, are taken at even distances.
    """
    if train["subject"].notna().any():
        groups = train["subject"].fillna(train["unit"])
        names = rng.permutation(sorted(groups.unique()))
        return groups.isin(names[: max(1, round(fraction * len(names)))]).to_numpy()
    columns = _label_columns(dataset)
    units = train.drop_duplicates("unit")
    shuffled = units[columns].reset_index(drop=True).sample(frac=1, random_state=rng)
    order = shuffled.sort_values(columns, kind="stable").index.to_numpy()
    number = max(1, round(fraction * len(units)))
    places = np.floor((np.arange(number) + rng.random()) * len(units) / number).astype(np.int64)
    return train["unit"].isin(units["unit"].iloc[order[places]]).to_numpy()
