"""The report of an ablation or a study: a table and a panel of intervals per protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hicmae_core.evaluation.metrics import title
from hicmae_core.reports.figures import BLUE, GREY, ORANGE, save_figure
from hicmae_core.reports.markdown import show

_HEADER = "| | {metric}{unit} | {level} interval | std over seeds | less the first row | {level} interval |"


def ablation_markdown(name: str, table: pd.DataFrame, metric: str, confidence: float, notes: list[str]) -> str:
    """The tables for people.

    Args:
        name: ``ablation`` or ``study``; its figure is of the same name.
        table: Rows of `statistics.compare_arms` under their ``protocol``; arms and protocols by their titles.
        metric: The metric that was compared.
        confidence: Level of the intervals.
        notes: Paragraphs that say what was run.
    """
    unit = "" if show(metric, 1.0) == "1.000" else ", %"
    parts = [f"# {name.capitalize()}", *notes]
    for protocol, rows in table.groupby("protocol", sort=False):
        lines = [
            _HEADER.format(metric=title(metric), unit=unit, level=f"{100 * confidence:g} %"),
            "|---|" + 5 * "---:|",
        ]
        for row in rows.to_dict("records"):
            cells = [
                _value(metric, row["value"]),
                _interval(metric, row["low"], row["high"]),
                _value(metric, row["std"]),
                _value(metric, row["difference"], sign=True),
                _interval(metric, row["difference_low"], row["difference_high"], sign=True),
            ]
            lines.append(f"| {row['arm']} | {' | '.join(cells)} |")
        parts += [f"## {protocol}", "\n".join(lines)]
    return "\n\n".join([*parts, f"![{name.capitalize()}]({name}.png)"]) + "\n"


def plot_ablation(table: pd.DataFrame, metric: str, path: Path) -> None:
    """Draw each arm's value with its interval, a panel per protocol; the first arm is drawn in grey.

    Args:
        table: As `ablation_markdown`.
        metric: The metric that was compared.
        path: PNG to write.
    """
    arms, protocols = list(table["arm"].unique()), list(table["protocol"].unique())
    figure = Figure(figsize=(2.6 + 2.5 * len(protocols), 1.2 + 0.36 * len(arms)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(protocols), sharey=True))
    scale = 1 if show(metric, 1.0) == "1.000" else 100
    for axes, protocol in zip(panels, protocols, strict=True):
        for row in table[table["protocol"] == protocol].to_dict("records"):
            place = arms.index(row["arm"])
            colour = GREY if place == 0 else ORANGE if place == len(arms) - 1 else BLUE
            value, ends = scale * row["value"], np.array([row["value"] - row["low"], row["high"] - row["value"]])
            if np.isfinite(ends).all():
                bars = np.maximum(scale * ends, 0)[:, None]  # a percentile interval need not hold its estimate
                axes.errorbar(value, place, xerr=bars, color=colour, capsize=4, linewidth=1.8, fmt="none")
            axes.plot(value, place, "o", color=colour, markersize=7)
            if place == 0:
                axes.axvline(value, color=GREY, linestyle="--", linewidth=1)
        axes.set_title(protocol, fontsize=11)
        axes.set_xlabel(title(metric) + (", %" if scale == 100 else ""))
        axes.set_yticks(range(len(arms)), arms, fontsize=9)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.xaxis.grid(visible=True, color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _value(metric: str, value: float, sign: bool = False) -> str:
    if np.isnan(value):
        return "–"
    shown = show(metric, abs(value))
    return ("+" if value >= 0 else "−") + shown if sign else shown if value >= 0 else f"−{shown}"


def _interval(metric: str, low: float, high: float, sign: bool = False) -> str:
    if np.isnan(low):
        return "–"
    return f"{_value(metric, low, sign)} … {_value(metric, high, sign)}"
