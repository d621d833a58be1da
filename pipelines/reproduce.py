"""Bring the DVC graph up to date as one Prefect flow: a task per stage that has something to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines.dvc_graph import Graph, protect_locks, read_graph, repro_command
from pipelines.process import CommandFailed, Processes
from stages.command import parser, run

EXAMPLES = """
python -m pipelines.reproduce                                  # all that is not up to date
python -m pipelines.reproduce --targets evaluate@demo-1        # one fold and what it needs
python -m pipelines.reproduce --targets finetune --parallel 2  # all folds, two stages at a time
python -m pipelines.reproduce --targets summarise --force      # again, up to date or not
"""
_DVC_HINTS = ("To track the changes", "\tgit add", "To enable auto staging", "\tdvc config", "Use `dvc push`")
_MEANINGS = {
    "cached": "up to date before the run",
    "unchanged": "up to date after all",
    "restored": "outputs taken from DVC's cache",
    "ran": "ran",
    "failed": "failed",
    "not run": "waits for a stage that failed",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a stage."""

    status: str
    seconds: float = 0.0


@flow(name="reproduce")
def reproduce(
    targets: tuple[str, ...] = (), force: bool = False, max_parallel: int = 1, root: Path = Path(".")
) -> State[None]:
    """Run the stages that are not up to date, each when those above it are done.

    A failed stage fails the flow with the stage's last lines; stages that do not depend on it still run.

    Args:
        targets: Stages, such as ``evaluate@demo-1`` or all of ``evaluate``, with all that they need; none means all.
        force: Run them even if they are up to date.
        max_parallel: Stages that may run at the same time.
        root: The project's root, where dvc.yaml is.
    """
    logger = get_run_logger()
    root = root.resolve()
    try:
        for lock in protect_locks(root):
            logger.warning("%s was torn by a kill; its copy is back in place", lock)
        graph = read_graph(root)
        selected = graph.select(targets)
    except ValueError as error:
        return Failed(message=str(error))
    to_run = graph.to_run(selected, force)
    logger.info("%d of %d stages to run: %s", len(to_run), len(selected), ", ".join(to_run) or "all are up to date")
    outcomes = {stage: Outcome("not run" if stage in to_run else "cached") for stage in selected}
    reasons = _run_stages(graph, to_run, force, max_parallel, root, outcomes)
    create_markdown_artifact(_report(outcomes, root), key="reproduce", description="Results and what became of stages")
    if reasons:
        return Failed(message="\n\n".join(reasons))
    return Completed(message=_count(outcomes))


def _run_stages(
    graph: Graph, to_run: Sequence[str], force: bool, max_parallel: int, root: Path, outcomes: dict[str, Outcome]
) -> list[str]:
    """Run stages in dependency order and note their `outcomes`; returns why stages failed."""
    processes = Processes()
    reasons: list[str] = []

    @task(task_run_name="{stage}", cache_policy=NO_CACHE)
    def run_stage(stage: str) -> State[None]:
        started = time.monotonic()
        lines: list[str] = []
        logger = get_run_logger()

        def on_line(line: str) -> None:
            if not line.startswith(_DVC_HINTS):
                logger.info("%s", line)
            if stage in line:
                lines.append(line)

        try:
            processes.run(repro_command(stage, force), on_line, root)
        except CommandFailed as error:
            outcomes[stage] = Outcome("failed", time.monotonic() - started)
            head = f"stage {stage} failed; to run it alone: dvc repro --single-item {stage}"
            reason = "\n".join([head, *error.last_lines])
            reasons.append(reason)
            return Failed(message=reason)
        outcomes[stage] = Outcome(_status(lines), time.monotonic() - started)
        return Completed(message=_MEANINGS[outcomes[stage].status])

    # Stages are submitted in dependency order, so a task that waits for another never keeps it from a thread.
    with ThreadPoolTaskRunner(max_workers=max_parallel) as runner:
        futures: dict[str, PrefectFuture[None]] = {}
        try:
            for stage in to_run:
                above = [futures[name] for name in graph.upstream[stage] if name in futures]
                futures[stage] = runner.submit(run_stage, {"stage": stage}, wait_for=above)
            wait(list(futures.values()))
        except BaseException:  # Ctrl-C among them: no stage may outlive the flow
            processes.end_all()
            raise
    return reasons


def _status(lines: Sequence[str]) -> str:
    """What `dvc repro` says it did with a stage."""
    if any(line.startswith("Running stage ") for line in lines):
        return "ran"
    return "restored" if any("is cached - skipping run" in line for line in lines) else "unchanged"


def _count(outcomes: dict[str, Outcome]) -> str:
    statuses = [outcome.status for outcome in outcomes.values()]
    return ", ".join(f"{statuses.count(status)} {status}" for status in _MEANINGS if status in statuses)


def _report(outcomes: dict[str, Outcome], root: Path) -> str:
    """The results of each dataset, where there are some, and a table of the stages."""
    parts = [path.read_text(encoding="utf-8") for path in sorted(root.glob("reports/**/results.md"))]
    rows = ["| stage | status | seconds |", "|---|---|---:|"]
    rows += [
        f"| {stage} | {_MEANINGS[outcome.status]} | {outcome.seconds:.1f} |" for stage, outcome in outcomes.items()
    ]
    return "\n\n".join([*parts, "## Stages", "\n".join(rows)])


def main() -> int:
    """Run the flow from the command line.

    Returns:
        1 if a stage failed, 0 otherwise.
    """
    arguments = parser("Bring the whole graph up to date, as one Prefect flow.", EXAMPLES)
    arguments.add_argument("--targets", nargs="+", default=[], metavar="STAGE", help="only these and what they need")
    arguments.add_argument("--force", action="store_true", help="run stages that are up to date, too")
    arguments.add_argument("--parallel", type=int, default=1, metavar="N", help="stages at the same time (default 1)")
    chosen = arguments.parse_args()
    state = reproduce(tuple(chosen.targets), chosen.force, chosen.parallel, return_state=True)
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    run(main)
