"""Bring the DVC graph up to date as one Prefect flow."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from prefect import flow
from prefect.states import State
from pydantic import Field

from hicmae.command import run
from pipelines.flows.stage_tasks import bring_up_to_date
from pipelines.flows.workspace import check_server

EXAMPLES = """
python -m pipelines.flows.reproduce                                  # all that is not up to date
python -m pipelines.flows.reproduce --targets evaluate@demo-1        # one fold and what it needs
python -m pipelines.flows.reproduce --targets finetune --parallel 2  # all folds, two stages at a time
python -m pipelines.flows.reproduce --targets summarise --force      # again, up to date or not
"""
Parallel = Annotated[int, Field(ge=1, le=64)]


@flow(name="reproduce")
def reproduce(targets: tuple[str, ...] = (), force: bool = False, max_parallel: Parallel = 1) -> State[None]:
    """Run the stages that are not up to date, each when those above it are done.

    Args:
        targets: Stages, such as ``evaluate@demo-1`` or all of ``evaluate``, with all that they need; none means all.
        force: Run them even if they are up to date.
        max_parallel: Stages that may run at the same time.
    """
    return bring_up_to_date(targets, force, max_parallel)


def main(
    targets: Annotated[
        list[str] | None, typer.Option(metavar="STAGE...", help="Only these and what they need.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run stages that are up to date, too.")] = False,
    parallel: Annotated[int, typer.Option(metavar="N", help="Stages at the same time.")] = 1,
) -> None:
    """Bring the whole graph up to date, as one Prefect flow.

    The exit code is 1 if a stage failed.
    """
    check_server()
    state = reproduce(tuple(targets or ()), force, parallel, return_state=True)
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    raise typer.Exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    run(main, EXAMPLES)
