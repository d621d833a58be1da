"""Figures of training: history curves and what the masked autoencoder reconstructs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hicmae_core.evaluation.drawing import BLUE, drawable, save_figure

_PANELS_PER_ROW = 3
_MAX_FRAMES = 8
_ROWS = {"original": "", "masked": "_masked", "predicted\nuntrained": "_untrained", "predicted": "_predicted"}


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
    lower.suptitle("sound: log-mel, low to high upwards, time to the right", fontsize=11)
    save_figure(figure, path)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
