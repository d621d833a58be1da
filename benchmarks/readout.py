"""What a linear classifier reads off encoders that nobody has fine-tuned: mean tokens against statistics by place.

The features are what the head of a fresh classifier is given of the middle of a clip, of random weights and of
a pre-trained model's; a linear support vector machine on standardised features is trained with one speaker left out at
a time. No learning rate or number of epochs has a say, so the rows tell what the pooling and the weights are worth.
With ``--curve`` the machines are also trained on fewer speakers: what more of them would bring. ``--map`` draws the
statistics in the plane, by class and by speaker.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.preprocessing import StandardScaler

from benchmarks.baselines import svm
from hicmae.command import run
from hicmae.prepared import PreparedDataset
from hicmae_core.config import Params, load_params
from hicmae_core.evaluation.embedding import features_of, lay_out
from hicmae_core.model.artifact import load_pretrained
from hicmae_core.model.classifier import Classifier, initialise_from_pretraining
from hicmae_core.model.sizes import classifier
from hicmae_core.reports.figures import Layout, plot_layouts, save_figure
from hicmae_core.training.randomness import seed_everything

PENALTIES = (1e-4, 1e-3, 1e-2)
_MIDDLE = PENALTIES[1]
_NUM_DRAWS = 5
_TITLES = {"audio": "voice", "video": "face"}
EXAMPLES = """
python -m benchmarks.readout javanese
python -m benchmarks.readout javanese --speakers 01 02 03 04 05 06 --weights models/pretrain/model.safetensors
python -m benchmarks.readout javanese --weights models/pretrain/model.safetensors --curve curve.png --map map.png
"""


def model_of(params: Params, modality: str, pooling: str, weights: Path | None) -> Classifier:
    """A classifier of the geometry of params.yaml whose encoders are random, or those of `weights`."""
    seed_everything(params.seed, "read-out")
    shape = params.model.model_dump(exclude={"size", "frame_stride", "stride_unit"})
    model = classifier(params.model.size, 2, modality=modality, pooling=pooling, **shape)
    if weights is not None:
        initialise_from_pretraining(model, load_pretrained(weights, params.model.size).state_dict())
    return model.eval()


def recalls(features: NDArray[np.float32], labels: Sequence[int], speakers: Sequence[str]) -> list[float]:
    """UAR of each of `PENALTIES`, each speaker predicted by a machine that was trained on the others."""
    folds = LeaveOneGroupOut()
    predictions = (cross_val_predict(svm(c)(), features, labels, groups=speakers, cv=folds) for c in PENALTIES)
    return [float(recall_score(labels, predicted, average="macro")) for predicted in predictions]


def by_number_of_speakers(
    features: NDArray[np.float32], labels: Sequence[int], speakers: Sequence[str], seed: int
) -> dict[int, float]:
    """UAR by the number of speakers that a machine is trained on, of all but the tested one; the mean of some draws."""
    x, y, owners = features, np.asarray(labels), np.asarray(speakers)
    names = np.unique(owners)
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(2, len(names)):
        values = []
        for _ in range(_NUM_DRAWS if number < len(names) - 1 else 1):
            predicted = np.empty_like(y)
            for tested in names:
                trained = np.isin(owners, rng.choice(names[names != tested], number, replace=False))
                predicted[owners == tested] = svm(_MIDDLE)().fit(x[trained], y[trained]).predict(x[owners == tested])
            values.append(recall_score(y, predicted, average="macro"))
        found[number] = float(np.mean(values))
    return found


def _plot_curves(curves: dict[str, dict[str, dict[int, float]]], path: Path) -> None:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    for axes, (modality, by_weights) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        for name, found in by_weights.items():
            axes.plot([*found], [100 * value for value in found.values()], "o-", label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks([2, 4, 8], ["2", "4", "8"])
        axes.set_title(_TITLES[modality], fontsize=11)
        axes.set_xlabel("training speakers")
        axes.set_ylabel("UAR, %")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def main(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A prepared dataset of params.yaml.")],
    speakers: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="Those that are used.", show_default="all")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A pre-trained model to compare with random weights.")] = None,
    curve: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also train on fewer speakers, and draw that.")
    ] = None,
    drawing: Annotated[
        Path | None, typer.Option("--map", metavar="PNG", help="Also draw t-SNE of the statistics.")
    ] = None,
) -> None:
    """Print what a linear classifier reads off encoders that are not fine-tuned, by modality, pooling and weights."""
    params = load_params()
    prepared = PreparedDataset(params, dataset)
    rows = prepared.manifest
    rows = rows[rows["subject"].isin(speakers)] if speakers else rows
    if prepared.dataset.task != "classification" or rows["subject"].nunique() < 2 or rows["subject"].isna().any():
        raise ValueError(f"a read-out leaves speakers out: {dataset} needs classes, and two known speakers here")
    labels, subjects = rows["label"].astype(int).tolist(), rows["subject"].tolist()
    print(
        f"| modality | weights | pooling | {' | '.join(f'C {c:g}' for c in PENALTIES)} |\n|---|---|---|---:|---:|---:|"
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    curves: dict[str, dict[str, dict[int, float]]] = {}
    layouts: dict[str, Layout] = {}
    groups = {"emotion": [prepared.dataset.classes[label] for label in labels], "speaker": subjects}
    for modality in ("audio", "video"):
        clips = prepared.clips(rows["clip_id"].tolist(), modality)
        for name, path in {"random": None, **({"pre-trained": weights} if weights else {})}.items():
            for pooling in ("mean", "statistics"):
                features = features_of(model_of(params, modality, pooling, path), clips)
                found = recalls(features, labels, subjects)
                if curve and pooling == "statistics":
                    of_weights = by_number_of_speakers(features, labels, subjects, params.seed)
                    curves.setdefault(modality, {})[f"{name} weights"] = of_weights
                if drawing and pooling == "statistics":
                    points = lay_out(StandardScaler().fit_transform(features))
                    layouts[f"{_TITLES[modality]}, {name} weights"] = Layout(points, groups)
                cells = " | ".join(f"{100 * value:.1f}" for value in found)
                print(f"| {modality} | {name} | {pooling} | {cells} |", flush=True)
    for modality, by_weights in curves.items():
        for name, of_weights in by_weights.items():
            shown = ", ".join(f"{number}: {100 * value:.1f}" for number, value in of_weights.items())
            print(f"{modality}, {name}, statistics, by training speakers: {shown}")
    if curve:
        _plot_curves(curves, curve)
    if drawing:
        plot_layouts(layouts, drawing)


if __name__ == "__main__":
    run(main, EXAMPLES)
