"""A model's features of clips, laid out in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.batches import test_batches
from hicmae_core.data.clips import ClipDataset
from hicmae_core.evaluation.drawing import BLUE, GREEN, GREY, ORANGE, drawable, save_figure
from hicmae_core.model.classifier import Classifier

_BATCH_SIZE = 16
_PERPLEXITY = 30
_FEW_COLOURS = (BLUE, ORANGE, GREEN, GREY)


class Layout(NamedTuple):
    """Clips in the plane."""

    points: NDArray[np.float64]
    """``[num_clips, 2]``."""
    groups: Mapping[str, Sequence[str]]
    """A name per clip, by what is named: ``emotion``, ``speaker``."""


@torch.no_grad()
def features_of(model: Classifier, clips: ClipDataset) -> NDArray[np.float32]:
    """What the head of a classifier in eval mode sees of the middles of clips, ``[num_clips, width]``."""
    device = model.head.weight.device
    features = []
    for batch in test_batches(clips, _BATCH_SIZE, num_segments=1, num_workers=0):
        video = resize_only(batch.frames.flatten(0, 1).to(device), model.architecture.image_size)
        features.append(model.features(video, batch.audio.flatten(0, 1).to(device)).float().cpu())
    return torch.cat(features).numpy()


def lay_out(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """t-SNE of features ``[num_clips, width]``, the same each time: ``[num_clips, 2]``.

    Raises:
        ValueError: With fewer than four clips.
    """
    if len(features) < 4:
        raise ValueError(f"a layout needs at least 4 clips, not {len(features)}")
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features).astype(np.float64)


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
            _draw(axes, layout.points, layout.groups[kind], shown)
            axes.set_title(f"{name}, by {shown}", fontsize=10)
    save_figure(figure, path)


def _draw(axes: Axes, points: NDArray[np.float64], names: Sequence[str], kind: str) -> None:
    distinct = sorted(set(names))
    many = colormaps["tab20"].colors  # type: ignore[attr-defined]
    colours = _FEW_COLOURS if len(distinct) <= len(_FEW_COLOURS) else many
    for index, (name, label) in enumerate(zip(distinct, drawable(distinct, kind), strict=True)):
        chosen = np.array([other == name for other in names])
        axes.scatter(
            points[chosen, 0], points[chosen, 1], s=16, color=colours[index % len(colours)], linewidths=0, label=label
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
