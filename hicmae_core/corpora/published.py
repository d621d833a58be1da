"""Published results: what a row holds, and the systems whose rows stand with several corpora."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

CLASSES = (
    "self-supervised, audio-visual",
    "adapters on pre-trained models, audio-visual",
    "CLIP and CLAP",
    "multimodal language model",
    "video only",
    "audio only",
    "baseline of the corpus",
)
"""Classes of systems, in the order of tables: like stands beside like."""

_AUDIO_VISUAL, _ADAPTERS, _CLIP, _LANGUAGE, _VIDEO, _AUDIO, _BASELINE = CLASSES

_HICMAE = "Sun et al., Information Fusion 2024, arXiv:2401.05698v2"
_AVF_MAE = "Wu et al., AVF-MAE++, CVPR 2025"
_MAE_DFER = "Sun et al., MAE-DFER, ACM Multimedia 2023"
_SVFAP = "Sun et al., SVFAP, IEEE TAC 2024"
_WAVLM = "Chen et al., WavLM, IEEE JSTSP 2022, fine-tuned on this dataset"
_UNSTATED = "epoch: last or best on the test fold, not stated"
_TEST_SELECTED = "test-selected: epoch chosen on the test fold"
SECOND_HAND = "second-hand, from a later paper's table"


class PublishedResult(NamedTuple):
    """One system's numbers on one dataset."""

    system: str
    year: int
    modality: str
    """``both``, ``video`` or ``audio``; empty where it is not known."""
    system_class: str
    """One of `CLASSES`."""
    parameters_millions: float | None
    percent: Mapping[str, float]
    """Metrics by the names of `hicmae_core.evaluation.metrics`, in percent as printed; absent where not printed."""
    source: str
    note: str = ""
    folds: Mapping[str, tuple[float, ...]] = {}
    """Metrics per fold, in percent, where the authors give them."""


def class_of(modality: str) -> str:
    """The class of a system of this kind, by the modality that it is given: ``both``, ``video`` or ``audio``."""
    return {"both": _AUDIO_VISUAL, "video": _VIDEO, "audio": _AUDIO}[modality]


def recalls(uar: float | None, war: float | None) -> dict[str, float]:
    """UAR and WAR in percent, those that are printed."""
    return {name: value for name, value in (("uar", uar), ("war", war)) if value is not None}


def hicmae(
    percent: Mapping[str, float],
    modality: str = "both",
    note: str = "",
    folds: Mapping[str, tuple[float, ...]] | None = None,
    size: str = "B",
) -> PublishedResult:
    """HiCMAE, of size ``T``, ``S`` or ``B``."""
    millions = {"T": 20, "S": 46, "B": 81}[size] if modality == "both" else None
    note = f"{note}; {_UNSTATED}" if note else _UNSTATED
    return PublishedResult(
        f"HiCMAE-{size}", 2024, modality, class_of(modality), millions, percent, _HICMAE, note, folds or {}
    )


def avf_mae(size: str, uar: float, war: float, war_by_fold: tuple[float, ...] = ()) -> PublishedResult:
    """AVF-MAE++, of size ``B``, ``L`` or ``H``; its logs give the folds of ``H``, and how their epochs were chosen."""
    millions = {"B": 169, "L": 303, "H": 521}[size]
    folds = {"war": war_by_fold} if war_by_fold else {}
    note = "epoch: test-selected on MAFW and MSP-IMPROV by its logs, not stated here" if size == "H" else ""
    note = f"{_TEST_SELECTED}; folds: its logs" if folds else note
    return PublishedResult(
        f"AVF-MAE++ {size}", 2025, "both", _AUDIO_VISUAL, millions, recalls(uar, war), _AVF_MAE, note, folds
    )


def mae_dfer(uar: float, war: float) -> PublishedResult:
    """MAE-DFER, of video alone."""
    return PublishedResult("MAE-DFER", 2023, "video", _VIDEO, 85, recalls(uar, war), _MAE_DFER)


def svfap(percent: Mapping[str, float]) -> PublishedResult:
    """SVFAP, of video alone."""
    return PublishedResult("SVFAP-B", 2024, "video", _VIDEO, None, percent, _SVFAP)


def wavlm(uar: float, war: float) -> PublishedResult:
    """WavLM, of audio alone."""
    return PublishedResult("WavLM-Plus", 2022, "audio", _AUDIO, 95, recalls(uar, war), _WAVLM)


def baseline(year: int, percent: Mapping[str, float], source: str) -> PublishedResult:
    """The corpus's own baseline, as SVFAP's paper prints it."""
    return PublishedResult("baseline", year, "", _BASELINE, None, percent, source, "second-hand, through SVFAP's paper")


def in_the_wild(
    mma: tuple[float, float],
    s4d: float,
    mira: tuple[float, float],
    claip: float,
    humanomni: tuple[float, float],
) -> tuple[PublishedResult, ...]:
    """The systems that print numbers on both MAFW and DFEW: UAR and WAR, or WAR alone."""
    return (
        PublishedResult(
            "MMA-DFER", 2024, "both", _ADAPTERS, None, recalls(*mma), "MMA-DFER, CVPRW 2024, arXiv:2404.09010",
            "adapters on MAE-Face and AudioMAE; epoch: last",
        ),
        PublishedResult(
            "CLAIP-Emo L/14", 2026, "both", _CLIP, None, recalls(None, claip),
            "CLAIP-Emo, IEEE SPL 2026, arXiv:2509.14527", f"LoRA, 8 M parameters trained; {_TEST_SELECTED}",
        ),
        PublishedResult(
            "HumanOmni-7B", 2025, "both", _LANGUAGE, 7000, recalls(*humanomni), "HumanOmni, 2025",
            "trained on both MAFW and DFEW",
        ),
        PublishedResult(
            "S4D", 2025, "video", _VIDEO, None, recalls(None, s4d), "S4D (UniLearn), IEEE TAC 2025, arXiv:2409.06154",
            "with static images, too",
        ),
        PublishedResult("MiRA-H", 2026, "video", _VIDEO, None, recalls(*mira), "MiRA, 2026", SECOND_HAND),
    )  # fmt: skip


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
