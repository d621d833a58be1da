"""Tell Prefect that a dataset has new clips, which starts the deployment `prepare`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from hicmae import layout
from hicmae.command import run
from hicmae_core.config import load_params

EXAMPLES = """
python -m pipelines.flows.announce mine                    # after files were copied to data/raw/mine
dvc push && python -m pipelines.flows.announce mine --pull # after they went to the DVC remote
python -m pipelines.flows.announce mine --watch            # now and whenever files come, go or change
"""
EVENT = "hicmae.dataset.pushed"
_LOOK_EVERY_SECONDS = 5.0


def announce(dataset: str, pull: bool) -> None:
    """Emit the event.

    Raises:
        ValueError: Without a server, or if it does not take the event.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise ValueError("PREFECT_API_URL is not set: start `prefect server start` and export its address")
    from pipelines.flows.workspace import check_server

    check_server()
    from prefect.events import Event, get_events_client  # Prefect takes seconds to load
    from prefect.utilities.asyncutils import run_coro_as_sync

    resource = {"prefect.resource.id": f"hicmae.dataset.{dataset}"}
    event = Event(event=EVENT, resource=resource, payload={"dataset": dataset, "pull": pull})

    async def send() -> None:
        async with get_events_client() as client:
            await client.emit(event)

    try:
        run_coro_as_sync(send())
    except OSError as error:
        raise ValueError(f"{os.environ['PREFECT_API_URL']} did not take the event: {error}") from error


def changes(folder: Path, look_every_seconds: float = _LOOK_EVERY_SECONDS) -> Iterator[None]:
    """Yield now, and whenever files in `folder` have come, gone or changed and then stood still between two looks."""
    announced: dict[str, tuple[int, int]] | None = None
    before = _state(folder)
    while True:
        time.sleep(look_every_seconds)
        now = _state(folder)
        if now == before != announced:
            announced = now
            yield
        before = now


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file."""
    state = {}
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            try:
                found = os.stat(os.path.join(parent, name))
            except FileNotFoundError:  # gone since it was listed
                continue
            state[os.path.join(parent, name)] = (found.st_size, found.st_mtime_ns)
    return state


def main(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset of params.yaml.")],
    pull: Annotated[bool, typer.Option("--pull", help="They are on the DVC remote: pull them first.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and look at the folder every few seconds.")] = False,
) -> None:
    """Tell Prefect that a dataset has new clips, once or whenever there are some."""
    known = load_params().dataset
    if dataset not in known:
        raise ValueError(f"no dataset `{dataset}` in params.yaml; there are: {', '.join(known)}")
    for _ in changes(layout.raw_folder(dataset)) if watch else [None]:
        announce(dataset, pull)
        print(f"announced new clips of {dataset}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main, EXAMPLES)
