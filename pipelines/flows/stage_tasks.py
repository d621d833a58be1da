"""The stage loop of every flow: a Prefect task per stage that is out of date, each `dvc repro` of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from hicmae.tracking.run_links import run_links
from pipelines.flows.estimates import Progress
from pipelines.flows.process import CommandFailed, Processes
from pipelines.flows.workspace import workspace_lock
from pipelines.graph.reading import Graph, name_of, read_graph, repro_command

_DVC_HINTS = ("To track the changes", "\tgit add", "To enable auto staging", "\tdvc config", "Use `dvc push`")

MEANINGS = {
    "cached": "up to date before the run",
    "unchanged": "up to date after all",
    "restored": "outputs taken from DVC's cache",
    "ran": "ran",
    "failed": "failed",
    "not run": "waits for a stage that failed",
}
_REPORTS = ("reports/*.md", "reports/**/*.html", "reports/*/results.*")


def bring_up_to_date(
    targets: Sequence[str] = (),
    force: bool = False,
    max_parallel: int = 1,
    before: Callable[[Path], None] = lambda root: None,
) -> State[None]:
    """Run the stages that are not up to date in the project that is the working directory.

    Each runs when those above it are done. A failed stage fails the flow with the stage's last lines; stages that do
    not depend on it still run. Nothing is tried twice: with the same code, data and parameters a stage fails the same
    way, and one that was interrupted goes on when the flow is started again.

    Args:
        targets: As for `Graph.select`.
        force: Run stages even if they are up to date.
        max_parallel: Stages that may run at the same time.
        before: Is done first, while no other flow is at work here. Its ValueError fails the flow.
    """
    logger = get_run_logger()
    root = Path.cwd()
    with workspace_lock(root, logger.info):
        try:
            before(root)
            graph = read_graph(root)
            selected = graph.select(targets)
        except ValueError as error:
            return Failed(message=str(error))
        to_run = graph.to_run(selected, force)
        names = ", ".join(map(name_of, to_run))
        logger.info("%d of %d stages to run: %s", len(to_run), len(selected), names or "all are up to date")
        outcomes = {stage: StageOutcome("not run" if stage in to_run else "cached") for stage in selected}
        with Progress(root, [name_of(stage) for stage in to_run], max_parallel) as progress:
            reasons = _run_stages(graph, to_run, force, max_parallel, root, outcomes, progress)
        publish({name_of(stage): outcome for stage, outcome in outcomes.items()}, root)
    if reasons:
        return Failed(message="\n\n".join(reasons))
    return Completed(message=count(outcomes.values()))


def _run_stages(
    graph: Graph,
    to_run: Sequence[str],
    force: bool,
    max_parallel: int,
    root: Path,
    outcomes: dict[str, StageOutcome],
    progress: Progress,
) -> list[str]:
    """Run stages in dependency order and note their `outcomes`; returns why stages failed."""
    processes = Processes()
    reasons: list[str] = []

    def run_stage(stage: str) -> State[None]:
        started = time.monotonic()
        lines: list[str] = []
        logger = get_run_logger()
        progress.begin(name_of(stage))

        def on_line(line: str) -> None:
            progress.report_now_and_then()
            if not line.startswith(_DVC_HINTS):
                logger.info("%s", line)
            if stage in line:
                lines.append(line)

        try:
            processes.run(repro_command(stage, force), on_line, root)
        except CommandFailed as error:
            outcomes[stage] = StageOutcome("failed", time.monotonic() - started)
            head = f"stage {name_of(stage)} failed; to run it alone: dvc repro --single-item {stage}"
            reason = "\n".join([head, *error.last_lines])
            reasons.append(reason)
            return Failed(message=reason)
        outcomes[stage] = StageOutcome(_status(lines), time.monotonic() - started)
        progress.end(name_of(stage), outcomes[stage].seconds if outcomes[stage].status == "ran" else None)
        return Completed(message=MEANINGS[outcomes[stage].status])

    # Stages are submitted in dependency order, so a task that waits for another never keeps it from a thread.
    runner: ThreadPoolTaskRunner[State[None]]
    with ThreadPoolTaskRunner(max_workers=max_parallel) as runner:
        futures: dict[str, PrefectFuture[None]] = {}
        try:
            for stage in to_run:
                above = [futures[name] for name in graph.upstream[stage] if name in futures]
                stage_task: Any = task(task_run_name=name_of(stage), cache_policy=NO_CACHE)(run_stage)
                futures[stage] = runner.submit(stage_task, {"stage": stage}, wait_for=above)
            wait(list(futures.values()))
        except BaseException:  # Ctrl-C and cancelling among them: no stage may outlive the flow
            processes.end_all()
            raise
    return reasons


def _status(lines: Sequence[str]) -> str:
    """What `dvc repro` says it did with a stage."""
    if any(line.startswith("Running stage ") for line in lines):
        return "ran"
    return "restored" if any("is cached - skipping run" in line for line in lines) else "unchanged"


@dataclass(frozen=True)
class StageOutcome:
    """What became of a stage."""

    status: str
    """A key of `MEANINGS`."""
    seconds: float = 0.0


def count(outcomes: Iterable[StageOutcome]) -> str:
    """Such as ``2 cached, 3 ran``."""
    statuses = [outcome.status for outcome in outcomes]
    return ", ".join(f"{statuses.count(status)} {status}" for status in MEANINGS if status in statuses)


def publish(outcomes: Mapping[str, StageOutcome], root: Path) -> None:
    """A table of the stages, each with the MLflow run that it, or the run it was cached from, wrote; and the results.

    Args:
        outcomes: By stage.
        root: The project.
    """
    try:
        links = run_links(root, outcomes)
    except ValueError as error:
        get_run_logger().warning("stages are shown without their MLflow runs: %s", error)
        links = {}
    flow_name = runtime.flow_run.flow_name
    rows = [
        {
            "stage": stage,
            "status": MEANINGS[outcome.status],
            "seconds": round(outcome.seconds, 1),
            "MLflow run": f"[{links[stage].name}]({links[stage].address})" if stage in links else "",
        }
        for stage, outcome in outcomes.items()
    ]
    create_table_artifact(rows, key=f"{flow_name}-stages", description="What became of each stage")
    create_markdown_artifact(_results(rows, root), key=flow_name, description="Results and what became of stages")


def _results(rows: list[dict[str, object]], root: Path) -> str:
    """The results of each dataset, where there are some, a table of the stages, and where the reports are."""
    parts = [path.read_text(encoding="utf-8") for path in sorted(root.glob("reports/**/results.md"))]
    table = ["| stage | status | seconds | MLflow run |", "|---|---|---:|---|"]
    table += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    parts += ["## Stages", "\n".join(table)]
    reports = sorted({path for pattern in _REPORTS for path in root.glob(pattern)})
    if reports:
        parts += ["## Reports", "\n".join(f"- [{path.relative_to(root)}]({path.as_uri()})" for path in reports)]
    return "\n\n".join(parts)
