"""The gate between a candidate and the champion of a dataset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from hicmae.tracking.model_store import ModelStore
from hicmae.tracking.registry import CANDIDATE, CHAMPION, model_name
from hicmae.tracking.store import MlflowStore
from hicmae_core.config import Params
from hicmae_core.evaluation.fold_results import CLIP, PREDICTIONS_NAME, unit_in_words
from hicmae_core.evaluation.statistics import paired_difference
from hicmae_core.evaluation.summary import HEADLINES


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
