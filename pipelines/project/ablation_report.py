"""What the experiments of a comparison found: reports/NAME.md, .csv, .png and .parquet, and the features as an image.

The .parquet holds every prediction, as benchmarks/evidence.py wants it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hicmae import layout
from hicmae.prepared import PreparedDataset
from hicmae_core.config import Params, load_params
from hicmae_core.evaluation.embedding import features_of, lay_out
from hicmae_core.evaluation.fold_results import read_alone, read_predictions, unit_in_words
from hicmae_core.evaluation.statistics import compare_arms
from hicmae_core.evaluation.summary import HEADLINES
from hicmae_core.files import atomic_path, write_text
from hicmae_core.model.artifact import load_classifier
from hicmae_core.reports.comparison import ablation_markdown, plot_ablation
from hicmae_core.reports.figures import Layout, plot_layouts
from hicmae_core.store.folds import test_clips
from pipelines.project import experiments
from pipelines.project.ablation_plan import Comparison, Experiment, Variation
from pipelines.project.experiments import Finished

Found = Sequence[tuple[Experiment, Finished]]
"""Experiments of the plan that have run."""
Predictions = Mapping[tuple[str, str, int], pd.DataFrame]
"""Of the test clips of all folds, by protocol, arm and seed."""
_CACHE = layout.CHECKPOINTS / "comparisons"
_PICTURED = {
    ("probe", "scratch"): "random weights, all clips",
    ("probe", "full"): "pre-trained, all clips",
    ("all", "full"): "fine-tuned, test clips",
}
"""Titles of the layouts of features, by protocol and arm."""


def write_report(comparison: Comparison, found: Found, root: Path) -> str:
    """Compare the arms under each protocol, on the first evaluated dataset, and write ``reports/NAME.*``.

    Args:
        comparison: What is compared.
        found: What has run.
        root: The project.

    Returns:
        The report's text.

    Raises:
        ValueError: If no arm has run with all seeds.
    """
    params = load_params(root / "params.yaml")
    name = params.evaluated[0]
    metric = HEADLINES[params.dataset[name].task][0]
    predictions = _predictions(found, root, name)
    comparison = replace(comparison, protocols=(*comparison.protocols, *_shown_alone(comparison.protocols)))
    table = _table(comparison, predictions, params, name, metric)
    unit = unit_in_words(next(iter(predictions.values())), params.dataset[name])
    report = root / layout.REPORTS / comparison.name
    with atomic_path(report.with_suffix(".csv")) as temporary:
        table.to_csv(temporary, index=False)
    with atomic_path(report.with_suffix(".parquet")) as temporary:
        _every_prediction(predictions, params, name).to_parquet(temporary, index=False)
    plot_ablation(table, metric, report.with_suffix(".png"))
    text = ablation_markdown(
        comparison.name, table, metric, params.summarise.confidence, _notes(found, params, name, unit)
    )
    pictured = report.with_name(f"{comparison.name}-features.png")
    if _draw_features(found, root, params, name, pictured):
        text += f"\n![Features]({pictured.name})\n"
    write_text(report.with_suffix(".md"), text)
    return text


def _every_prediction(predictions: Predictions, params: Params, name: str) -> pd.DataFrame:
    """A row per protocol, arm, seed and clip; classes by name."""
    tables = []
    for (protocol, arm, seed), rows in predictions.items():
        arm = f"{arm}-dropout" if protocol.startswith("dropout") else arm
        about: dict[str, Any] = {
            "dataset": name,
            "arm": arm,
            "protocol": protocol,
            "modality": rows["shown"],
            "seed": seed,
        }
        names = dict(enumerate(params.dataset[name].classes))
        words = {column: rows[column].map(names) for column in ("label", "prediction") if column in rows and names}
        tables.append(rows.assign(**about, **words))
    return pd.concat(tables, ignore_index=True)


def _predictions(found: Found, root: Path, name: str) -> Predictions:
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda pair: _of_all_folds(pair[0], pair[1], root, name), found))
    return {
        (protocol, experiment.arm.name, experiment.seed): rows
        for (experiment, _), part in zip(found, parts, strict=True)
        for protocol, rows in part.items()
    }


def _shown_alone(protocols: Sequence[Variation]) -> list[Variation]:
    """Further rows of models that learned to do without a modality: what they are worth with the other alone."""
    return [
        Variation(f"{protocol.name}-{shown}", f"{protocol.title}; {word} shown", protocol.settings)
        for protocol in protocols
        if "finetune.modality_dropout" in protocol.settings
        for shown, word in (("audio", "voice"), ("video", "face"))
    ]


def _table(comparison: Comparison, predictions: Predictions, params: Params, name: str, metric: str) -> pd.DataFrame:
    """A row per protocol and arm that has run with all seeds."""
    seeds = sorted({seed for _, _, seed in predictions})
    compared = []
    for protocol in comparison.protocols:
        arms = {
            arm.title: [predictions[protocol.name, arm.name, seed] for seed in seeds]
            for arm in comparison.arms
            if all((protocol.name, arm.name, seed) in predictions for seed in seeds)
        }
        if seeds and arms:
            rows = compare_arms(
                arms, comparison.arms[0].title, metric, params.dataset[name], params.summarise, params.seed
            )
            compared.append(rows.assign(protocol=protocol.title))
    if not compared:
        again = f"python -m pipelines.project.ablation run --what {comparison.name}"
        raise ValueError(f"no arm has run with all seeds; `{again}` runs what is missing")
    return pd.concat(compared, ignore_index=True)


def _of_all_folds(experiment: Experiment, done: Finished, root: Path, name: str) -> dict[str, pd.DataFrame]:
    """By protocol: that of the experiment, and those of `_shown_alone`."""
    folder = experiments.fetch(root, done, Path("results") / name, root / _CACHE)
    protocol = experiment.protocol.name
    by_fold = [{protocol: read_predictions(folder / str(fold))} for fold in experiment.folds]
    if _shown_alone([experiment.protocol]):
        for tables, fold in zip(by_fold, experiment.folds, strict=True):
            tables |= {f"{protocol}-{shown}": rows for shown, rows in read_alone(folder / str(fold)).items()}
    return {
        key: pd.concat([tables[key].assign(fold=fold) for tables, fold in zip(by_fold, experiment.folds, strict=True)])
        for key in by_fold[0]
    }


def _notes(found: Found, params: Params, name: str, unit: str) -> list[str]:
    """What was run, and how to read the table."""
    folds = sorted({fold for experiment, _ in found for fold in experiment.folds})
    seeds = sorted({experiment.seed for experiment, _ in found})
    commits = sorted({done.baseline[:10] for _, done in found})
    faces = params.dataset[name].face_note(params.finetune.modality)
    return [
        f"Dataset `{name}`{faces}, scored by {unit}; test folds {_listed(folds)}, which share no speaker with "
        f"what is trained on; training seeds {_listed(seeds)}; started from commit {_listed(commits)}.",
        f"The intervals come from {params.summarise.bootstrap_samples:,} bootstrap resamples of speakers and, "
        "independently, of seeds. Differences are to the first row, on the same speakers and seeds.",
    ]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


def _draw_features(found: Found, root: Path, params: Params, name: str, path: Path) -> bool:
    """Lay out the features of the first seed's models in the plane; whether there was one to draw."""
    dataset = params.dataset[name]
    first = {(e.protocol.name, e.arm.name): (e, done) for e, done in reversed(found) if e.seed == found[0][0].seed}
    layouts = {}
    for key, heading in _PICTURED.items():
        if key not in first or dataset.task != "classification":
            continue
        experiment, done = first[key]
        fold = experiment.folds[0]
        weights = experiments.fetch(root, done, layout.finetune_folder(name, fold) / "model.safetensors", root / _CACHE)
        prepared = PreparedDataset(experiments.params_of(root, done) or params, name)
        all_clips = list(prepared.manifest["clip_id"])
        chosen = test_clips(prepared.manifest, fold) if experiment.protocol.name == "all" else all_clips
        rows = prepared.manifest.set_index("clip_id").loc[chosen]
        model, _ = load_classifier(weights)
        groups = {
            "class": [dataset.classes[label] for label in rows["label"]],
            "speaker": rows["subject"].fillna("unknown").tolist(),
        }
        layouts[heading] = Layout(lay_out(features_of(model, prepared.clips(chosen))), groups)
    if layouts:
        plot_layouts(layouts, path)
    return bool(layouts)
