"""Figures of predictions: confusion matrices, and predicted against actual values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.drawing import BLUE, GREY, drawable, note_numbered, save_figure
from hicmae_core.evaluation.fold_results import actual_and_predicted, plot_rows
from hicmae_core.evaluation.metrics import confusion_matrix
from hicmae_core.evaluation.units import CLIP, unit_in_words

_MAX_ANNOTATED_CLASSES = 15


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
