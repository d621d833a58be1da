"""Histograms of a prepared dataset, each with a description in words."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hicmae_core.quality.outcome import Outcome

_BLUE, _ORANGE = "#0072B2", "#D55E00"  # apart under colour blindness (Okabe and Ito)
_NUM_BINS = 40
_TAIL = 0.001


@dataclass(frozen=True)
class Histogram:
    """A figure: `png` is its file, `alt` says the same in words."""

    title: str
    alt: str
    png: bytes


def histograms(outcome: Outcome) -> list[Histogram]:
    """Coverage, face size, frame rate and duration of the usable clips, from the index columns alone."""
    faces = outcome.faces
    figures = (
        ("Coverage", "share of frames in which the face is seen", faces["coverage"], (0.0, 1.0)),
        ("Share", "share of the face among all faces in view", faces["share"], (0.0, 1.0)),
        ("Face size", "side of the face in the source, pixels", faces["face_size"], None),
        ("Duration", "seconds of sound", outcome.usable["seconds"], None),
        ("Frame rate", "frames per second", faces["fps"], None),
    )
    known = ((title, unit, values.dropna(), limits) for title, unit, values, limits in figures)
    return [_histogram(title, unit, values, limits) for title, unit, values, limits in known if len(values)]


def _histogram(title: str, unit: str, values: pd.Series, limits: tuple[float, float] | None) -> Histogram:
    """Without given limits, values of the outermost thousandth are counted at the ends."""
    data = values.to_numpy(dtype=np.float64)
    low, quarter, median, three_quarters, high = np.quantile(data, (0, 0.25, 0.5, 0.75, 1))
    alt = (
        f"{title} of {len(data):,}: {unit}; median {median:.4g}, the middle half from {quarter:.4g} to "
        f"{three_quarters:.4g}, all from {low:.4g} to {high:.4g}"
    )
    first, last = limits or np.quantile(data, (_TAIL, 1 - _TAIL))
    if last - first < 1e-6 * max(abs(last), 1.0):
        first, last = first - 0.5, last + 0.5
    counts, edges = np.histogram(data.clip(first, last), bins=_NUM_BINS, range=(first, last))
    figure = Figure(figsize=(4.2, 2.3), layout="constrained")
    axes = figure.subplots()
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=_BLUE)
    axes.axvline(median, color=_ORANGE, linestyle="--", linewidth=1.5, label=f"median {median:.4g}")
    axes.set_xlabel(unit, fontsize=9)
    axes.set_ylabel("number", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return Histogram(title, alt, stream.getvalue())
