"""All figures: of training, predictions, calibration, results over folds and features in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.calibration import Reliability
from hicmae_core.evaluation.fold_results import CLIP, actual_and_predicted, plot_rows, unit_in_words
from hicmae_core.evaluation.metrics import confusion_matrix, title
from hicmae_core.files import atomic_path
from hicmae_core.model.probabilities import RiskCoverage

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
"""From Okabe and Ito's palette, which tells apart under colour blindness."""
_DOTS_PER_INCH = 110
_FONT = "DejaVu Sans"
"""Comes with matplotlib."""
_NO_FONT = "Last Resort"
"""Begins the name of a font that has a box for every character."""
_WIDE_FONTS = ("cjk", "noto", "han", "hei", "gothic", "unifont", "unicode", "droid", "wenquanyi")
"""Parts of the names of fonts with many scripts, which are tried first."""

_MAX_ANNOTATED_CLASSES = 15
_PANELS_PER_ROW = 3
_MAX_FRAMES = 8
_ROWS = {"original": "", "masked": "_masked", "predicted\nuntrained": "_untrained", "predicted": "_predicted"}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all; the same figure gives the same bytes on the same machine.

    A character that matplotlib's own font lacks is drawn in an installed font that has it; ``$`` is no formula.
    """
    for axes in figure.findobj(Axes):
        assert isinstance(axes, Axes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels()  # which writes their texts
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    fonts = [_FONT, *_further_fonts("".join(text.get_text() for text in texts))]
    for text in texts:
        text.set_parse_math(False)
        if len(fonts) > 1:
            text.set_fontfamily(fonts)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight", metadata={"Software": None})


def drawable(names: Sequence[str], kind: str) -> list[str]:
    """Names as figures write them: one that no installed font can draw becomes its number, such as ``class 3``.

    Args:
        names: In the order of their numbers, from 1.
        kind: What is numbered.
    """
    return [
        f"{kind} {number}" if _lacking(name, [_FONT, *_further_fonts(name)]) else name
        for number, name in enumerate(names, start=1)
    ]


def note_numbered(figure: Figure, names: Sequence[str], shown: Sequence[str]) -> None:
    """Say below a figure which names became numbers (`drawable`), if any did."""
    numbered = [label for name, label in zip(names, shown, strict=True) if label != name]
    if numbered:
        what = "numbered in the order of params.yaml, as no installed font has the characters of the names"
        figure.supxlabel(f"{', '.join(numbered)}: {what}", fontsize=8)


def _further_fonts(text: str) -> list[str]:
    """Installed fonts that together have the characters of a text that matplotlib's own lacks, as far as any has."""
    chosen: list[str] = []
    lacking = _lacking(text, [_FONT])
    for entry in sorted(fontManager.ttflist, key=_preference) if lacking else ():
        if lacking & _characters(entry.fname) and not entry.name.startswith(_NO_FONT):
            chosen.append(entry.name)
            lacking = _lacking(text, [_FONT, *chosen])
        if not lacking:
            break
    return chosen


def _preference(entry: FontEntry) -> tuple[bool, bool, bool, str]:
    is_wide = any(part in entry.name.lower() for part in _WIDE_FONTS)
    return not is_wide, entry.style != "normal", entry.weight not in (400, "normal", "regular"), entry.name


def _lacking(text: str, fonts: Sequence[str]) -> set[str]:
    """Visible characters of a text that no font of these names has."""
    lacking = {character for character in text if not character.isspace()}
    for name in fonts:
        lacking -= _characters(findfont(name))
    return lacking


@cache
def _characters(font: str) -> frozenset[str]:
    """What a font file can draw; nothing if it holds images, or cannot be read."""
    try:
        face = get_font(font)
        return frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


def plot_folds(table: pd.DataFrame, metrics: Sequence[str], path: Path) -> None:
    """Draw metrics per fold with their mean, and the pooled value with its interval.

    Args:
        table: Rows and metrics as fractions (`results.results_table`).
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
        table: Rows and metrics as fractions (`results.results_table`).
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


def plot_predictions(predictions: pd.DataFrame, dataset: DatasetParams, path: Path) -> None:
    """Draw how far predictions, by unit, agree with what was true: confusion matrices, or values against values.

    Args:
        predictions: A table of `prediction.predict`.
        dataset: What is predicted.
        path: PNG to write.
    """
    if dataset.task == "regression":
        plot_agreement(plot_rows(predictions, dataset), path)
        return
    confusion = confusion_matrix(*actual_and_predicted(predictions, dataset), num_classes=len(dataset.classes))
    scored = "clips" if unit_in_words(predictions, dataset) == CLIP else "units"
    plot_confusion(confusion, dataset.classes, dataset.targets, path, scored)


def plot_confusion(
    confusion: NDArray[np.int64], classes: Sequence[str], targets: Sequence[str], path: Path, scored: str = "clips"
) -> None:
    """Draw confusion matrices (rows actual) twice: counts, and percent of each row; a row of panels per target.

    Args:
        confusion: Counts, `[num_targets, C, C]`.
        classes: Names of the classes.
        targets: Names of the targets; none where there is but one label.
        path: PNG to write.
        scored: What is counted.
    """
    num_classes = len(classes)
    names, classes, shown_targets = classes, drawable(classes, "class"), drawable(targets, "target")
    side = 1.6 + (0.55 if num_classes <= _MAX_ANNOTATED_CLASSES else 0.2) * max(num_classes, 4)
    figure = Figure(figsize=(2 * side + 0.8, len(confusion) * (side + 0.5)), layout="compressed")
    panels = figure.subplots(len(confusion), 2, squeeze=False)
    for row, counts, target in zip(panels, confusion, shown_targets or [""], strict=True):
        percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        name = f"{target}: " if target else ""
        _draw_confusion(row[0], counts, max(int(counts.max()), 1), f"{name}{scored}", classes)
        _draw_confusion(row[1], percent, 100, f"{name}% of the actual class", classes)
        row[0].set_ylabel("actual")
    note_numbered(figure, [*names, *targets], [*classes, *shown_targets])
    save_figure(figure, path)


def _draw_confusion(
    axes: Axes, values: NDArray[np.float64] | NDArray[np.int64], top: float, name: str, classes: Sequence[str]
) -> None:
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=top)
    axes.set_title(name, fontsize=11)
    axes.set_xlabel("predicted")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(len(classes)), classes, fontsize=9)
    axes.tick_params(length=0)
    if len(classes) <= _MAX_ANNOTATED_CLASSES:
        _annotate(axes, values, top)
    else:
        axes.figure.colorbar(image, ax=axes, shrink=0.7)


def _annotate(axes: Axes, values: NDArray[np.float64] | NDArray[np.int64], top: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > 0.6 * top else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=9)


def plot_agreement(pairs: pd.DataFrame, path: Path) -> None:
    """Draw predicted against actual values, a panel per target (`fold_results.plot_rows`)."""
    targets = list(dict.fromkeys(pairs["target"]))
    figure = Figure(figsize=(3.2 * len(targets) + 0.4, 3.6), layout="compressed")
    panels = np.atleast_1d(figure.subplots(1, len(targets)))
    for axes, target, name in zip(panels, targets, drawable(targets, "target"), strict=True):
        values = pairs.loc[pairs["target"] == target, ["actual", "predicted"]]
        low, high = float(values.to_numpy().min()), float(values.to_numpy().max())
        axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--", label="equal")
        axes.scatter(values["actual"], values["predicted"], s=9, alpha=0.4, color=BLUE, linewidths=0)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("actual")
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("predicted")
    figure.axes[0].legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def plot_history(history: pd.DataFrame | Path, path: Path) -> None:
    """Draw a small curve over ``epoch`` of every other numeric column of a training history.

    Args:
        history: The history, or the CSV file that holds it.
        path: PNG to write.

    Raises:
        ValueError: If there is no ``epoch`` or nothing else to draw.
    """
    table = pd.read_csv(history) if isinstance(history, Path) else history
    columns = [name for name in table.select_dtypes("number").columns if name != "epoch" and table[name].notna().any()]
    if "epoch" not in table or not columns:
        raise ValueError(f"a history needs `epoch` and at least one more number, not {list(table.columns)}")
    num_rows = -(-len(columns) // _PANELS_PER_ROW)
    num_columns = min(len(columns), _PANELS_PER_ROW)
    figure = Figure(figsize=(3.2 * num_columns, 2.3 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes, name, label in zip(panels, columns, drawable(columns, "column"), strict=False):
        known = table[["epoch", name]].dropna()
        axes.plot(known["epoch"], known[name], color=BLUE, linewidth=1.6, marker="." if len(known) <= 30 else "")
        axes.set_title(label.replace("_", " "), fontsize=10)
        axes.set_xlabel("epoch", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    save_figure(figure, path)


def plot_reconstruction(arrays: Mapping[str, ArrayLike], path: Path) -> None:
    """Draw one clip as it is, as the encoder sees it, and as the decoder completes it before and after training.

    Args:
        arrays: ``frames``, ``frames_masked``, ``frames_untrained``, ``frames_predicted``: RGB `[T, H, W, 3]` in
            0 .. 1; and ``log_mel``, ``log_mel_masked``, ``log_mel_untrained``, ``log_mel_predicted``: `[time, mel]`.
            NaN is hidden.
        path: PNG to write.
    """
    videos = [np.asarray(arrays[f"frames{suffix}"], dtype=np.float64) for suffix in _ROWS.values()]
    spectrograms = [np.asarray(arrays[f"log_mel{suffix}"], dtype=np.float64) for suffix in _ROWS.values()]
    num_frames = min(_MAX_FRAMES, len(videos[0]))
    chosen = np.linspace(0, len(videos[0]) - 1, num_frames).round().astype(int)
    figure = Figure(figsize=(1.1 * num_frames + 0.8, 9.6), layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(1, 1.15))
    upper, lower = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    frames = upper.subplots(len(_ROWS), num_frames, squeeze=False)
    for row, (name, video) in enumerate(zip(_ROWS, videos, strict=True)):
        for axes, frame in zip(frames[row], chosen, strict=True):
            axes.imshow(np.clip(np.nan_to_num(video[frame], nan=0.5), 0, 1))
            _bare(axes)
        frames[row, 0].set_ylabel(name, fontsize=9)
    upper.suptitle(f"video: {num_frames} of {len(videos[0])} frames", fontsize=11)
    low, high = np.nanpercentile(spectrograms[0], (1, 99))
    for axes, name, spectrogram in zip(lower.subplots(len(_ROWS), 1), _ROWS, spectrograms, strict=True):
        axes.set_facecolor("#CCCCCC")
        axes.imshow(spectrogram.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
        _bare(axes)
        axes.set_ylabel(name, fontsize=9)
    lower.suptitle("audio: log-mel, low to high upwards, time to the right", fontsize=11)
    save_figure(figure, path)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


class Layout(NamedTuple):
    """Clips in the plane."""

    points: NDArray[np.float64]
    """``[num_clips, 2]``."""
    groups: Mapping[str, Sequence[str]]
    """A name per clip, by what is named: ``emotion``, ``speaker``."""


def plot_layouts(layouts: Mapping[str, Layout], path: Path) -> None:
    """Draw layouts in rows, one panel for each thing by which clips are coloured.

    Args:
        layouts: By title of the row; all are coloured by the same things.
        path: PNG to write.
    """
    kinds = list(next(iter(layouts.values())).groups)
    figure = Figure(figsize=(4.3 * len(kinds), 3.2 * len(layouts)), layout="constrained")
    panels = figure.subplots(len(layouts), len(kinds), squeeze=False)
    for row, (name, layout) in zip(panels, layouts.items(), strict=True):
        for axes, kind in zip(row, kinds, strict=True):
            (shown,) = drawable([kind], "target")
            _draw_layout(axes, layout.points, layout.groups[kind], shown)
            axes.set_title(f"{name}, by {shown}", fontsize=10)
    save_figure(figure, path)


def _draw_layout(axes: Axes, points: NDArray[np.float64], names: Sequence[str], kind: str) -> None:
    distinct = sorted(set(names))
    many = colormaps["tab20"].colors  # type: ignore[attr-defined]
    colours = (BLUE, ORANGE, GREEN, GREY) if len(distinct) <= 4 else many
    for index, (name, label) in enumerate(zip(distinct, drawable(distinct, kind), strict=True)):
        chosen = np.array([other == name for other in names])
        axes.scatter(
            points[chosen, 0], points[chosen, 1], s=16, color=colours[index % len(colours)], linewidths=0, label=label
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def plot_reliability(
    curves: Mapping[str, Mapping[str, Reliability]], risks: Mapping[str, RiskCoverage], path: Path
) -> None:
    """Draw what is true against what is said: a panel per target, in it a curve by title; marks grow with their
    units. Of classes, the share of wrong predictions against the share that is predicted stands below.

    Args:
        curves: By target and title; at most two titles.
        risks: By target; none of values.
        path: PNG to write.
    """
    num_rows = 2 if risks else 1
    figure = Figure(figsize=(4.4 * len(curves), 4.6 + 3.2 * (num_rows - 1)), layout="constrained")
    ratios = [3, 2][:num_rows]
    panels = figure.subplots(num_rows, len(curves), squeeze=False, height_ratios=ratios)
    for axes, name, by_title in zip(panels[0], drawable([*curves], "target"), curves.values(), strict=True):
        _draw_reliability(axes, by_title)
        axes.set(title=name, xlabel="probability of the predicted class" if risks else "predicted value")
    panels[0][0].set_ylabel("fraction that is right" if risks else "mean actual value")
    for axes, curve in zip(panels[-1], risks.values(), strict=False):
        axes.plot(curve.coverage, curve.risk, color=BLUE, linewidth=1.5, label=f"mean over all shares {curve.area:.3f}")
        axes.set(xlim=(0, 1.02), ylim=(0, None), xlabel="share that is predicted, the surest first")
        axes.legend(loc="lower right", fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    if risks:
        panels[-1][0].set_ylabel("share of predictions that is wrong")
    save_figure(figure, path)


def _draw_reliability(axes: Axes, by_title: Mapping[str, Reliability]) -> None:
    values = np.concatenate([part for curve in by_title.values() for part in (curve.said, curve.true)])
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--", label="as it is said")
    for (name, curve), colour in zip(by_title.items(), (BLUE, ORANGE), strict=False):
        label = f"{name}: mean gap {curve.expected_error:.3f}"
        axes.plot(curve.said, curve.true, color=colour, linewidth=1.5, label=label)
        axes.scatter(curve.said, curve.true, s=12 + 200 * curve.num_units / curve.num_units.sum(), c=colour)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
