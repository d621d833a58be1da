"""Register the present study's model and let it become the champion, if it is better beyond doubt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed, Failed, State

from hicmae.command import DatasetOption, run
from hicmae.tracking.model_registry import promote as pass_gate
from hicmae.tracking.model_registry import register
from hicmae.tracking.store import MlflowStore
from hicmae_core.config import load_params
from pipelines.flows.workspace import check_server, workspace_lock

EXAMPLES = """
python -m pipelines.flows.promote --dataset demo               # the study of params.yaml
python -m pipelines.flows.promote --dataset demo --candidate   # what is the candidate already
"""


@flow(name="promote")
def promote(dataset: str = "demo", register_first: bool = True) -> State[None]:
    """Promote a candidate that beats the champion: the interval of the difference must lie above zero.

    Args:
        dataset: An evaluated dataset of params.yaml.
        register_first: Make the model of the study of params.yaml the candidate; otherwise the one that is it.
    """
    logger = get_run_logger()
    root = Path.cwd()
    try:
        with workspace_lock(root, logger.info):
            params, store = load_params(), MlflowStore(root)
            if register_first:
                version = register(store, params, dataset)
                logger.info("models:/%s/%s is the candidate: %s", version.name, version.version, version.description)
            verdict = pass_gate(store, params, dataset)
    except ValueError as error:
        return Failed(message=str(error))
    create_markdown_artifact(verdict.message, key="promote", description="What became of the candidate")
    return Completed(message=verdict.message) if verdict.is_champion else Failed(message=verdict.message)


def main(
    dataset: DatasetOption,
    candidate: Annotated[bool, typer.Option("--candidate", help="Take the candidate as it is.")] = False,
) -> None:
    """Promote a candidate that beats the champion.

    The exit code is 1 if the candidate was refused.
    """
    check_server()
    state = promote(dataset, not candidate, return_state=True)
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    raise typer.Exit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    run(main, EXAMPLES)
