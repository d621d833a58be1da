"""What MLflow's pages open with: saved views of the runs table and its charts, and links to them.

MLflow 3.17 keeps a saved view as a tag of the experiment; its page lists them under *Views*, and opens one that a link
names. Without a view, the columns of the runs table are those that each user's browser remembers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow.entities import Run

from hicmae_core.config import DatasetParams
from hicmae_core.evaluation.summary import HEADLINES

VIEW_TAG = "mlflow.sharedViewState."
CONFUSION_IMAGE = "confusion"
"""The name under which each fold logs the image of its confusion matrix."""
_STUDIES, _PRETRAININGS = "studies", "pretrainings"
_RECIPE = ("finetune.modality", "finetune.init", "model.size", "finetune.epochs", "seed")


def views_of_study(study: Run, dataset: DatasetParams) -> dict[str, str]:
    """Tags for a dataset's experiment: a view of its studies, and one of the folds of `study`."""
    headline = HEADLINES[dataset.task]
    pooled = [f"pooled_{metric}" for metric in headline]
    tested = [f"test_{metric}" for metric in headline]
    studies = {
        "selectedColumns": _columns(metrics=[*pooled[:2], *tested[:2]], params=_RECIPE, tags=["fold", "git_commit"]),
        **_charts(
            {
                "Results": [_bars(metric) for metric in pooled],
                "Recipes": [_parallel(_RECIPE, pooled[:2])],
            }
        ),
    }
    folds = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{study.info.run_id}' and tags.run_key != ''",
        "orderByKey": "tags.`fold`",
        "orderByAsc": True,
        "selectedColumns": _columns(
            metrics=[*tested, "test_num_units", "test_num_clips", "train_loss", "samples_per_second"],
            params=_RECIPE,
            tags=["fold"],
        ),
        **_charts(
            {
                "Training": [_curves("train_loss"), _curves("lr"), _curves("gradient_norm")],
                "Results": [*map(_bars, tested[:2]), _parallel([], tested)],
                "Confusion": [_pictures(CONFUSION_IMAGE)],
            },
            wide="Confusion",
        ),
    }
    return {
        f"{VIEW_TAG}{_STUDIES}": _saved("Studies", studies, 0),
        f"{VIEW_TAG}{study.info.run_id}": _saved(f"Folds of {study.info.run_name}", folds, study.info.start_time),
    }


def views_of_pretraining() -> dict[str, str]:
    """Tags for the experiment of pre-trainings: a view of all of them."""
    losses = ("total", "video", "audio", "contrastive")
    state = {
        "selectedColumns": _columns(
            metrics=[*losses, "samples_per_second"],
            params=["model.size", "pretrain.epochs", "pretrain.batch_size", "pretrain.base_lr", "seed"],
            tags=["dataset", "git_commit"],
        ),
        **_charts({"Losses": [_curves(loss) for loss in losses]}),
    }
    return {f"{VIEW_TAG}{_PRETRAININGS}": _saved("Pre-trainings", state, 0)}


def run_link(text: str, run: Run) -> str:
    """A link to a run's page, as Markdown."""
    return f"[{text}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"


def study_links(study: Run, folds: Iterable[Run]) -> str:
    """Links to a study's folds side by side, their comparison and the report, as Markdown."""
    experiment, run_id = study.info.experiment_id, study.info.run_id
    links = [
        f"[folds side by side](#/experiments/{experiment}/runs?viewStateShareKey={run_id}&compareRunsMode=CHART)",
        f"[as a table](#/experiments/{experiment}/runs?viewStateShareKey={run_id})",
    ]
    if chosen := [f'"{fold.info.run_id}"' for fold in folds]:
        compared = f"runs=%5B{','.join(chosen)}%5D&experiments=%5B%22{experiment}%22%5D".replace('"', "%22")
        links.append(f"[box plot and differences](#/compare-runs?{compared})")
    links.append(f"[report](#/experiments/{experiment}/runs/{run_id}/artifacts/results.md)")
    return " · ".join(links)


def experiment_note(study: Run) -> str:
    """What the page of a dataset's experiment begins with, as Markdown."""
    experiment = study.info.experiment_id
    folds = f"#/experiments/{experiment}/runs?viewStateShareKey={study.info.run_id}&compareRunsMode=CHART"
    studies = f"#/experiments/{experiment}/runs?viewStateShareKey={_STUDIES}"
    return f"[folds of {study.info.run_name}, side by side]({folds}) · [all studies]({studies})"


def _saved(name: str, state: Mapping[str, Any], made_ms: int) -> str:
    """The envelope in which MLflow's page looks for a saved view."""
    return json.dumps({"name": name, "createdAt": made_ms, "updatedAt": made_ms, "state": json.dumps(state)})


def _columns(metrics: Iterable[str], params: Iterable[str], tags: Iterable[str]) -> list[str]:
    kinds = {"metrics": metrics, "params": params, "tags": tags}
    return [f"{kind}.`{name}`" for kind, names in kinds.items() for name in names]


def _charts(sections: Mapping[str, Sequence[Mapping[str, Any]]], wide: str = "") -> dict[str, Any]:
    """Sections of charts, three in a row; a wide section's take the whole width and nearly the page's height."""
    heads = [
        {"uuid": name, "name": name, "display": True, "isReordered": True}
        | ({"columns": 1, "cardHeight": 620} if name == wide else {"columns": 3})
        for name in sections
    ]
    shared = {"deleted": False, "isGenerated": False, "runsCountToCompare": 20}
    cards = [
        {**shared, **chart, "uuid": f"{name}-{number}", "metricSectionId": name}
        for name, charts in sections.items()
        for number, chart in enumerate(charts)
    ]
    unsmoothed = {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}
    return {
        "compareRunSections": heads,
        "compareRunCharts": cards,
        "isAccordionReordered": True,
        "globalLineChartConfig": unsmoothed,
    }


def _curves(metric: str) -> dict[str, Any]:
    axes = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "useGlobalXaxisKey": True}
    smoothing = {"lineSmoothness": 0, "useGlobalLineSmoothing": True}
    names = {"metricKey": metric, "selectedMetricKeys": [metric], "displayName": metric}
    return {"type": "LINE", **names, **axes, **smoothing}


def _bars(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric, "displayName": metric}


def _parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    return {"type": "PARALLEL", "selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": False}


def _pictures(name: str) -> dict[str, Any]:
    return {"type": "IMAGE", "imageKeys": [name], "step": 0, "showRunParams": False}
