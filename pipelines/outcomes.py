"""What became of stages, as artifacts of a flow run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect import get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from stages.run_links import run_links

MEANINGS = {
    "cached": "up to date before the run",
    "unchanged": "up to date after all",
    "restored": "outputs taken from DVC's cache",
    "ran": "ran",
    "failed": "failed",
    "not run": "waits for a stage that failed",
}
_REPORTS = ("reports/*.md", "reports/**/*.html", "reports/*/results.*")


@dataclass(frozen=True)
class Outcome:
    """What became of a stage."""

    status: str
    """A key of `MEANINGS`."""
    seconds: float = 0.0


def count(outcomes: Iterable[Outcome]) -> str:
    """Such as ``2 cached, 3 ran``."""
    statuses = [outcome.status for outcome in outcomes]
    return ", ".join(f"{statuses.count(status)} {status}" for status in MEANINGS if status in statuses)


def publish(outcomes: Mapping[str, Outcome], root: Path) -> None:
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
