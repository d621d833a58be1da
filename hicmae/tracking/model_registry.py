"""Register a study's model, so that it can be found by name, served and promoted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from hicmae.tracking import provenance
from hicmae.tracking.model_store import ModelStore
from hicmae.tracking.stage_runs import MODEL_FILE
from hicmae.tracking.store import KEY_TAG, MlflowStore, dataset_inputs_of
from hicmae_core.config import Params
from hicmae_core.evaluation.fold_results import CLIP, PREDICTIONS_NAME, unit_in_words
from hicmae_core.evaluation.statistics import paired_difference
from hicmae_core.evaluation.summary import HEADLINES
from hicmae_core.files import sha256_of
from hicmae_core.reports.markdown import escaped

CANDIDATE, CHAMPION = "candidate", "champion"


class Chosen(NamedTuple):
    """What is registered, and why it is this."""

    study: Run
    study_why: str
    fold: int
    fold_why: str
    fold_runs: dict[int, Run]


def model_name(dataset: str) -> str:
    """The name under which a dataset's models are registered."""
    return f"hicmae-{dataset}"


def register(
    store: MlflowStore,
    params: Params,
    dataset: str,
    study: str | None = None,
    best: bool = False,
    fold: int | None = None,
) -> ModelVersion:
    """Make a study's model the `candidate` of its dataset; one that is registered already keeps its version.

    Args:
        store: Where the runs are.
        params: All parameters.
        dataset: An evaluated dataset.
        study: The id of a study's run; None is the study of `params`.
        best: Take the study with the best pooled test result instead.
        fold: Take this fold's model; None is the first fold's, whatever its result.

    Raises:
        ValueError: If there is no such study, or it is not finished.
    """
    chosen = _choose(store, params, dataset, study, best, fold)
    models = ModelStore(store)
    weights = store.download(chosen.fold_runs[chosen.fold].info.run_id, MODEL_FILE)
    tags = _tags(chosen, dataset, sha256_of(weights))
    name = model_name(dataset)
    same = [v for v in models.versions(name) if v.tags.get("weights_sha256") == tags["weights_sha256"]]
    if same:
        version = same[0]
    else:
        text = _description(chosen)
        version = models.add(name, chosen.fold_runs[chosen.fold], weights, params.evaluate.num_segments, tags, text)
    models.point(CANDIDATE, version)
    return version


def _choose(
    store: MlflowStore, params: Params, dataset: str, study: str | None, best: bool, fold: int | None
) -> Chosen:
    described = provenance.cross_validation(params, dataset)
    metric = f"pooled_{HEADLINES[params.dataset[dataset].task][0]}"
    if best:
        finished = [found for found in store.studies_of(dataset) if metric in found.data.metrics]
        parent = max(finished, key=lambda found: found.data.metrics[metric], default=None)
        why = f"test-selected: the best {metric} of {len(finished)} studies"
    elif study:
        parent, why = _run(store, study), "named"
    else:
        parent, why = store.find(described.experiment, described.key), "the study of params.yaml"
    if parent is None or metric not in parent.data.metrics:
        raise ValueError(f"dataset {dataset}: no finished study ({why}); run dvc repro, or name one with --study")
    folds = store.fold_runs(parent.info.run_id)
    number = fold if fold is not None else next(iter(folds), 0)
    if number not in folds:
        there_are = ", ".join(map(str, folds)) or "none"
        raise ValueError(f"study {parent.info.run_name}: no run of fold {number}; there are: {there_are}")
    by = "named" if fold is not None else "the first fold, whatever its result"
    return Chosen(parent, why, number, by, folds)


def _run(store: MlflowStore, run_id: str) -> Run:
    try:
        return store.client.get_run(run_id)
    except MlflowException:
        raise ValueError(f"no run `{run_id}` in MLflow at {store.name}") from None


def _tags(chosen: Chosen, dataset: str, weights_sha256: str) -> dict[str, str]:
    trained = chosen.fold_runs[chosen.fold]
    data = [used.dataset.digest for used in dataset_inputs_of(trained)]
    return {
        "dataset": dataset,
        "data_digest": data[0] if data else "",
        "git_commit": trained.data.tags.get("git_commit", ""),
        "study": chosen.study.info.run_name,
        "study_key": chosen.study.data.tags[KEY_TAG],
        "study_run_id": chosen.study.info.run_id,
        "study_selection": chosen.study_why,
        "fold_run_ids": " ".join(run.info.run_id for run in chosen.fold_runs.values()),
        "fold": str(chosen.fold),
        "fold_selection": chosen.fold_why,
        "pretraining_run_id": trained.data.tags.get("pretraining_run_id", ""),
        "weights_sha256": weights_sha256,
    }


def _description(chosen: Chosen) -> str:
    pooled = {name: value for name, value in chosen.study.data.metrics.items() if name.startswith("pooled_")}
    results = ", ".join(
        f"{escaped(name.removeprefix('pooled_'))} {value:.3f}" for name, value in sorted(pooled.items())
    )
    return (
        f"Fold {chosen.fold} ({chosen.fold_why}) of the study {chosen.study.info.run_name} ({chosen.study_why}). "
        f"The study's result over the test clips of all its folds: {results}. "
        "This is what the recipe reaches on unseen speakers; this one model was trained without its own test fold."
    )


class Verdict(NamedTuple):
    """What became of a candidate."""

    is_champion: bool
    message: str


def promote(store: MlflowStore, params: Params, dataset: str) -> Verdict:
    """Let the candidate take the champion's place if it is better beyond doubt; else both aliases stay.

    The two studies' test predictions, of all folds, are compared on the clips that both were tested on, scored by unit,
    by the dataset's first metric (UAR of a classification). Subjects are drawn with replacement, the same for both. The
    whole interval of the difference must lie above zero. Where there is no champion, the candidate becomes it.

    Args:
        store: Where the runs and models are.
        params: `summarise` says how many resamples and which level, `seed` the draws.
        dataset: An evaluated dataset.

    Raises:
        ValueError: If there is no candidate, or the two were tested on no common clip or scored by different units.
    """
    models, name = ModelStore(store), model_name(dataset)
    if dataset not in params.dataset:
        raise ValueError(f"no dataset `{dataset}` in params.yaml; there are: {', '.join(params.dataset)}")
    candidate, champion = models.aliased(name, CANDIDATE), models.aliased(name, CHAMPION)
    if candidate is None:
        raise ValueError(f"no models:/{name}@{CANDIDATE}; hicmae register --dataset {dataset} makes one")
    if champion is None:
        models.point(CHAMPION, candidate)
        return Verdict(True, f"{name} version {candidate.version} is the first champion")
    if candidate.version == champion.version:
        return Verdict(True, f"{name} version {candidate.version} is the champion already")
    is_better, found = _compare(store, params, dataset, candidate, champion)
    versions = f"{name} version {candidate.version} against version {champion.version}: {found}"
    if not is_better:
        return Verdict(False, f"not promoted, {versions}; {CHAMPION} and {CANDIDATE} stay as they are")
    models.point(CHAMPION, candidate)
    return Verdict(True, f"promoted, {versions}")


def _compare(
    store: MlflowStore, params: Params, dataset: str, candidate: ModelVersion, champion: ModelVersion
) -> tuple[bool, str]:
    """Whether the candidate is better beyond doubt, and what was found."""
    described, settings = params.dataset[dataset], params.summarise
    metric = HEADLINES[described.task][0]
    tables = [_predictions(store, version) for version in (candidate, champion)]
    common = sorted(set(tables[0].index) & set(tables[1].index))
    if not common:
        raise ValueError(f"versions {candidate.version} and {champion.version} were tested on no common clip")
    first, second = _same_units(*(table.loc[common].reset_index() for table in tables))
    rng = np.random.default_rng(params.seed)
    found = paired_difference(first, second, described, metric, settings.bootstrap_samples, settings.confidence, rng)
    units = "" if unit_in_words(first, described) == CLIP else f"{first['unit'].nunique()} units of "
    where = f"on {units}{len(common)} clips of {first['subject'].nunique()} subjects"
    if found.interval is None:
        return False, f"{metric} {found.value:+.3f} {where}; one subject says nothing about others"
    low, high = found.interval
    level = f"{100 * settings.confidence:g} % interval"
    return low > 0, f"{metric} {found.value:+.3f} {where}, {level} {low:+.3f} to {high:+.3f}"


def _same_units(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables of the same clips; one from before there were units is given the other's."""
    known = next((table["unit"] for table in tables if "unit" in table), tables[0]["clip_id"])
    return [table if "unit" in table else table.assign(unit=known) for table in tables]


def _predictions(store: MlflowStore, version: ModelVersion) -> pd.DataFrame:
    """Test predictions of all folds of a version's study, by clip."""
    folds = [store.download(run_id, PREDICTIONS_NAME) for run_id in version.tags["fold_run_ids"].split()]
    return pd.concat([pd.read_parquet(path) for path in folds]).set_index("clip_id")
