"""The ablation: what pre-training and each of its parts bring, as DVC experiments, and the report on them."""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from hicmae_core.config import load_params
from hicmae_core.progress import progress_bar
from stages import experiments, layout
from stages.ablation_plan import ARMS, PROTOCOLS, Experiment, Variation, check_full, plan, same_results
from stages.ablation_report import write_report
from stages.command import parser, run
from stages.experiments import Finished
from stages.project import project_root

EXAMPLES = """
python -m stages.ablation run --dry-run
python -m stages.ablation run --jobs 2
python -m stages.ablation show
python -m stages.ablation run --arms scratch full --protocols probe --seeds 0
"""
LOG = layout.REPORTS / "ablation.log"
_PREPARED = ("faces", "audio")
_LAST = ("summarise",)
_SECONDS_BETWEEN_LOOKS = 2.0


def main() -> int:
    """Run what is missing of the ablation, or report on what has run."""
    chosen = _arguments()
    root = project_root()
    wanted = _wanted(chosen)
    values = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    newest = experiments.finished(root)
    if chosen.action == "show":
        fitting = [(experiment, _fitting(root, experiment, values, newest)) for experiment in wanted]
        found = [(experiment, done) for experiment, done in fitting if done is not None]
        print(write_report(found, root))
        if len(found) < len(wanted):
            print(f"{len(wanted) - len(found)} experiments are missing: `python -m stages.ablation run` runs them")
        return 0
    head = experiments.git(root, "rev-parse", "HEAD").strip()
    here = [done for done in newest if done.baseline == head]
    missing = [experiment for experiment in wanted if _fitting(root, experiment, values, here) is None]
    print(f"{len(wanted)} experiments, {len(wanted) - len(missing)} of them have run")
    if chosen.dry_run:
        for experiment in missing:
            print(f"{experiment.name}: {', '.join(experiment.overrides)}")
        return 0
    if missing:
        _run(root, missing, {done.name for done in here}, chosen.jobs)
    failed = {experiment.name for experiment in missing} - {done.name for done in experiments.finished(root)}
    if failed:
        raise ValueError(
            f"{len(failed)} experiments did not end well: {', '.join(sorted(failed))}; `dvc queue logs NAME` and {LOG} "
            "tell why, and the same command runs them again"
        )
    return 0


def _arguments() -> argparse.Namespace:
    arguments = parser("What pre-training and each of its parts bring.", EXAMPLES)
    arguments.add_argument("action", choices=("run", "show"), help="run what is missing, or write reports/ablation.md")
    arguments.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], help="default: all")
    arguments.add_argument("--protocols", nargs="+", choices=[way.name for way in PROTOCOLS], help="default: all")
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of training; default: 0 1 2")
    arguments.add_argument("--folds", nargs="+", type=int, default=[1, 2], help="test folds; default: 1 2")
    arguments.add_argument("--jobs", type=int, default=2, help="experiments at a time; default: 2")
    arguments.add_argument("--dry-run", action="store_true", help="list what would run")
    return arguments.parse_args()


def _wanted(chosen: argparse.Namespace) -> list[Experiment]:
    check_full(load_params())
    return plan(_named(ARMS, chosen.arms), _named(PROTOCOLS, chosen.protocols), chosen.seeds, chosen.folds)


def _named(variations: Sequence[Variation], names: Sequence[str] | None) -> list[Variation]:
    return [variation for variation in variations if names is None or variation.name in names]


def _fitting(root: Path, experiment: Experiment, values: dict, candidates: Sequence[Finished]) -> Finished | None:
    """The first experiment of the name whose parameters compute the same."""
    wanted = experiment.params(values)
    for done in candidates:
        if done.name == experiment.name:
            ran = experiments.params_of(root, done)
            if ran is not None and same_results(ran, wanted):
                return done
    return None


def _run(root: Path, missing: Sequence[Experiment], taken: set[str], num_jobs: int) -> None:
    """Prepare the clips once, queue what does not wait in the queue already, and run the queue."""
    subprocess.run(experiments.dvc("repro", *_PREPARED), cwd=root, check=True, stdout=subprocess.DEVNULL)
    waiting = experiments.waiting(root)
    outdated = sorted({experiment.name for experiment in missing} & taken)
    if outdated:
        experiments.remove(root, outdated)
    fresh = [experiment for experiment in missing if experiment.name not in waiting]
    for experiment in progress_bar(fresh, desc="queue", unit="experiment"):
        experiments.queue(root, experiment.name, experiment.overrides, _LAST)
    threads = max((os.cpu_count() or 1) // num_jobs, 1)
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "MLFLOW_TRACKING_URI": f"sqlite:///{root.resolve()}/mlflow.db",
        **os.environ,
    }
    process = experiments.start_queue(root, num_jobs, root / LOG, environment)
    try:
        _watch(root, process, {experiment.name for experiment in missing})
    except KeyboardInterrupt:
        experiments.stop_queue(root)
        raise


def _watch(root: Path, process: subprocess.Popen[bytes], names: set[str]) -> None:
    with progress_bar(total=len(names), desc="ablation", unit="experiment") as bar:
        while process.poll() is None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            bar.update(len(names & {done.name for done in experiments.finished(root)}) - bar.n)


if __name__ == "__main__":
    run(main)
