"""The ablation and the study, as DVC experiments, and the reports on them.

The ablation says what pre-training and each of its parts bring, the study what pre-training, the face and the voice do.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml

from hicmae import layout
from hicmae.cli.output import print_table
from hicmae.command import run
from hicmae.layout import project_root
from hicmae_core.config import load_params
from hicmae_core.progress import progress_bar
from pipelines.project import experiments
from pipelines.project.ablation_plan import COMPARISONS, Comparison, Experiment, Variation, in_turn, plan, same_results
from pipelines.project.ablation_report import write_report
from pipelines.project.experiments import Finished

EXAMPLES = """
python -m pipelines.project.ablation run --dry-run
python -m pipelines.project.ablation run --jobs 2
python -m pipelines.project.ablation show
python -m pipelines.project.ablation run --arms scratch full --protocols probe --seeds 0
python -m pipelines.project.ablation run --what study
python -m pipelines.project.ablation run --what study --seeds 0 1 2
python -m pipelines.project.ablation run --what study --arms pretrained pretrained-indomain
python -m pipelines.project.ablation run --what study --protocols dropout
python -m pipelines.project.ablation show --what study
"""
_PREPARED = ("faces", "audio")
_SECONDS_BETWEEN_LOOKS = 2.0


def _choices(field: str) -> str:
    return "; of the ".join(
        f"{name} {', '.join(variation.name + '*' * variation.on_demand for variation in getattr(comparison, field))}"
        for name, comparison in COMPARISONS.items()
    )


def main(
    action: Annotated[Literal["run", "show"], typer.Argument(help="Run what is missing, or write the report.")],
    what: Annotated[Literal["ablation", "study"], typer.Option(help="Which comparison.")] = "ablation",
    arms: Annotated[
        list[str] | None, typer.Option(metavar="ARM...", help=f"Default: all without *, {_choices('arms')}.")
    ] = None,
    protocols: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help=f"Default: all without *, {_choices('protocols')}.")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(metavar="N...", help="Of training; default: 0 1 2, of the study 0.")
    ] = None,
    folds: Annotated[
        list[int] | None, typer.Option(metavar="N...", help="Test folds; default: 1 2, of the study all.")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Experiments at a time.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would run.")] = False,
) -> None:
    """Say what pre-training, each of its parts, the face and the voice bring: run what is missing, or report."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like Ctrl-C, the queue is stopped, too
    root = project_root()
    params = load_params(root / "params.yaml")
    comparison, everything = (_part(COMPARISONS[what], arms, protocols, on_demand) for on_demand in (False, True))
    comparison.check(params)
    values = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    name = params.evaluated[0]
    chosen = (seeds or comparison.seeds, name, folds or comparison.folds or params.folds[name])
    wanted = plan(comparison, *chosen)
    if action == "show":
        _show(root, everything, plan(everything, *chosen), {one.name for one in wanted}, values)
    else:
        _run(root, wanted, values, params.seed, jobs, dry_run)


def _show(
    root: Path, comparison: Comparison, known: Sequence[Experiment], wanted: set[str], values: Mapping[str, Any]
) -> None:
    """Report on what has run of the `known` ones, and say how many of the `wanted` ones have not."""
    finished = experiments.finished(root)
    fitting = [(experiment, _fitting(root, experiment, values, finished)) for experiment in known]
    found = [(experiment, done) for experiment, done in fitting if done is not None]
    print(write_report(comparison, found, root))
    missing = wanted - {experiment.name for experiment, _ in found}
    if missing:
        again = f"python -m pipelines.project.ablation run --what {comparison.name}"
        print(f"{len(missing)} experiments are missing: `{again}` runs them")


def _run(
    root: Path, wanted: Sequence[Experiment], values: Mapping[str, Any], seed: int, num_jobs: int, dry: bool
) -> None:
    here = experiments.finished_here(root)
    missing = [experiment for experiment in wanted if _fitting(root, experiment, values, here) is None]
    print(f"{len(wanted)} experiments, {len(wanted) - len(missing)} of them have run")
    if dry:
        rows = [[experiment.name, ", ".join(experiment.overrides)] for experiment in missing]
        print_table("", ["experiment", "parameters"], rows, best=False)
    elif missing:
        outdated = {experiment.name for experiment in missing} & {done.name for done in here}
        _prepare(root, missing, outdated, seed)
        for part in in_turn(missing, seed):
            if part:
                _work_off(root, part, num_jobs)


def _part(
    comparison: Comparison, arms: Sequence[str] | None, protocols: Sequence[str] | None, everything: bool
) -> Comparison:
    """The arms and protocols of these names alone; unnamed, all that do not wait to be, or `everything`."""
    return replace(
        comparison,
        arms=_named(comparison, "arm", comparison.arms, arms, everything),
        protocols=_named(comparison, "protocol", comparison.protocols, protocols, everything),
    )


def _named(
    comparison: Comparison, kind: str, variations: tuple[Variation, ...], names: Sequence[str] | None, everything: bool
) -> tuple[Variation, ...]:
    if names is None:
        return tuple(variation for variation in variations if everything or not variation.on_demand)
    known = {variation.name: variation for variation in variations}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"the {comparison.name} has no {kind} {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(variation for variation in variations if variation.name in names)


def _fitting(
    root: Path, experiment: Experiment, values: Mapping[str, Any], candidates: Sequence[Finished]
) -> Finished | None:
    """The first experiment of the name whose parameters compute the same."""
    wanted = experiment.params(values)
    for done in candidates:
        if done.name == experiment.name:
            ran = experiments.params_of(root, done)
            if ran is not None and same_results(ran, wanted):
                return done
    return None


def _prepare(root: Path, missing: Sequence[Experiment], outdated: set[str], seed: int) -> None:
    """Prepare the clips, and pre-train as params.yaml says where that is needed, once for all; clear the queue.

    What an earlier command has left in the queue is queued anew: it would run the code and parameters of that time.
    """
    experiments.check_identity(root)
    as_here = any(experiment.pretraining == (seed,) for experiment in missing)
    experiments.reproduce(root, (*_PREPARED, "pretrain") if as_here else _PREPARED)
    if outdated:
        experiments.remove(root, outdated)
    experiments.withdraw(root, [experiment.name for experiment in missing])
    experiments.add_graph_to_index(root)
    (root / _log(missing)).unlink(missing_ok=True)


def _log(part: Sequence[Experiment]) -> Path:
    return layout.REPORTS / f"{part[0].comparison}.log"


def _work_off(root: Path, part: Sequence[Experiment], num_jobs: int) -> None:
    """Run experiments and count what is done; when this process is interrupted, the queue stops.

    Raises:
        ValueError: If one of them fails.
    """
    running = experiments.tasks(root, "Running")
    idle = [experiment for experiment in part if experiment.name not in running]
    for experiment in progress_bar(idle, desc="queue", unit="experiment"):
        experiments.queue(root, experiment.name, experiment.overrides, [f"summarise@{experiment.dataset}"])
    threads = max((os.cpu_count() or 1) // num_jobs, 1)
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "MLFLOW_TRACKING_URI": f"sqlite:///{root.resolve()}/mlflow.db",
        **os.environ,
    }
    names = {experiment.name for experiment in part}
    log = _log(part)
    process = experiments.start_queue(root, num_jobs, root / log, environment)
    try:
        with progress_bar(total=len(names), desc=log.stem, unit="experiment") as bar:
            while process.poll() is None:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                bar.update(len(names & {done.name for done in experiments.finished_here(root)}) - bar.n)
    except KeyboardInterrupt:
        experiments.stop_queue(root)
        raise
    failed = names - {done.name for done in experiments.finished_here(root)}
    if failed:
        raise ValueError(
            f"{len(failed)} experiments did not end well: {', '.join(sorted(failed))}; `dvc queue logs NAME` and "
            f"{log} tell why, and the same command runs them again"
        )


if __name__ == "__main__":
    run(main, EXAMPLES)
