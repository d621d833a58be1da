"""Figures of results over folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hicmae_core.evaluation.drawing import BLUE, GREEN, ORANGE, save_figure
from hicmae_core.evaluation.markdown import title


def plot_folds(table: pd.DataFrame, metrics: Sequence[str], path: Path) -> None:
    """Draw metrics per fold with their mean, and the pooled value with its interval.

    Args:
        table: Rows and metrics as fractions (`report.results_table`).
        metrics: Names of the metrics, a panel each.
        path: PNG to write.
    """
    rows = table.set_index("row") * 100
    folds = [row for row in rows.index if row.startswith("fold ")]
    figure = Figure(figsize=(7.4, 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    positions, beside = np.arange(len(folds)), len(folds) + 0.2
    for axes, metric in zip(panels, metrics, strict=True):
        values = rows[metric]
        axes.axhline(values["mean"], color=ORANGE, linestyle="--", linewidth=1.5, label="mean over folds")
        axes.plot(positions, values[folds], "o", color=BLUE, markersize=7, label="fold")
        if "low" in values:
            ends = [[values["pooled"] - values["low"]], [values["high"] - values["pooled"]]]
            axes.errorbar(beside, values["pooled"], yerr=ends, color=GREEN, capsize=5, linewidth=1.8, fmt="none")
        axes.plot(beside, values["pooled"], "D", color=GREEN, markersize=7, label="pooled, with its interval")
        axes.set_title(f"{title(metric)}, %", fontsize=11)
        axes.set_xticks([*positions, beside], [*(row.removeprefix("fold ") for row in folds), "pooled"])
        axes.set_xlim(-0.6, beside + 0.6)
        axes.set_xlabel("fold")
        _rule(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save_figure(figure, path)


def plot_fold_boxes(table: pd.DataFrame, metrics: Sequence[str], path: Path) -> None:
    """Draw a box of the folds' values for each metric, and each fold as a point with its number.

    A box reaches from the first to the third quartile, its line is the median, its whiskers end at the extremes.

    Args:
        table: Rows and metrics as fractions (`report.results_table`).
        metrics: Names of the metrics, a box each.
        path: PNG to write.
    """
    folds = table[table["row"].str.startswith("fold ")]
    values = folds[list(metrics)].to_numpy() * 100
    places = np.arange(len(metrics))
    figure = Figure(figsize=(1.5 + 1.5 * len(metrics), 4.2), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(values, positions=places, widths=0.35, whis=(0, 100), medianprops={"color": ORANGE, "linewidth": 1.5})
    beside = np.linspace(-0.08, 0.08, len(folds)) if len(folds) > 1 else np.zeros(1)
    for number, row, shift in zip(folds["row"].str.removeprefix("fold "), values, beside, strict=True):
        axes.plot(places + shift, row, "o", color=BLUE, markersize=5, alpha=0.8)
        for place, value in zip(places, row, strict=True):
            axes.annotate(number, (place + 0.24, value), va="center", ha="left", fontsize=8, color=BLUE)
    axes.set_xticks(places, [title(metric) for metric in metrics])
    axes.set_xlim(-0.6, len(metrics) - 0.4)
    axes.set_ylabel(f"% in each of {len(folds)} folds")
    _rule(axes)
    save_figure(figure, path)


def _rule(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.yaxis.grid(visible=True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
