"""Published numbers of clips per fold and class, and how a manifest differs from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd


class Expected(NamedTuple):
    """How many clips the tested part of a fold, a class, or both have."""

    fold: int | None
    """1-based; None is all clips."""
    label: str | None
    """Class name; None is all classes."""
    low: int
    high: int
    """Range, ends included: releases differ by clips that some users leave out."""
    confirmed: bool = True
    """Whether a difference stops the manifest; otherwise it is only reported."""

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


Count = int | tuple[int, int]
"""A number of clips, or the range it may be in."""


def in_all(count: Count, confirmed: bool = True) -> tuple[Expected, ...]:
    """Of the whole corpus."""
    return (_expected(None, None, count, 0, confirmed),)


def per_fold(*counts: Count, slack: int = 0, confirmed: bool = True) -> tuple[Expected, ...]:
    """Of the tested parts of folds 1, 2, ...; `slack` more are as good."""
    return tuple(_expected(fold, None, count, slack, confirmed) for fold, count in enumerate(counts, start=1))


def per_class(counts: Mapping[str, Count], slack: int = 0, confirmed: bool = True) -> tuple[Expected, ...]:
    """Of the classes in all folds; `slack` more are as good."""
    return tuple(_expected(None, name, count, slack, confirmed) for name, count in counts.items())


def per_fold_and_class(counts: Mapping[str, tuple[Count, ...]]) -> tuple[Expected, ...]:
    """Of each class in the tested parts of folds 1, 2, ..."""
    return tuple(
        _expected(fold, name, count, 0, True)
        for name, of_folds in counts.items()
        for fold, count in enumerate(of_folds, start=1)
    )


def _expected(fold: int | None, label: str | None, count: Count, slack: int, confirmed: bool) -> Expected:
    low, high = count if isinstance(count, tuple) else (count, count)
    return Expected(fold, label, low, high + slack, confirmed)


def differences(clips: pd.DataFrame, expected: tuple[Expected, ...]) -> pd.DataFrame:
    """Where a manifest's clips are not as many as published.

    Args:
        clips: Those that are there, with ``label_name`` and ``test_fold``.
        expected: The published counts.

    Returns:
        A row per difference: ``fold``, ``class``, ``published``, ``found`` and ``confirmed``.
    """
    table = clips.groupby(["test_fold", "label_name"], dropna=False).size().rename("found").reset_index()
    rows = []
    for entry in expected:
        chosen = table
        if entry.fold is not None:
            chosen = chosen[(chosen["test_fold"] == entry.fold).fillna(False).astype(bool)]
        if entry.label is not None:
            chosen = chosen[(chosen["label_name"] == entry.label).fillna(False).astype(bool)]
        found = int(chosen["found"].sum())
        if not entry.low <= found <= entry.high:
            rows.append((entry.fold or "all", entry.label or "all", str(entry), found, entry.confirmed))
    return pd.DataFrame(rows, columns=["fold", "class", "published", "found", "confirmed"])
