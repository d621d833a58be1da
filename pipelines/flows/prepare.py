"""Prepare one dataset: manifest, faces, audio and the report on them."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import State
from prefect.tasks import exponential_backoff

from hicmae import layout
from hicmae_core.config import Name
from pipelines.flows.process import CommandFailed, Processes
from pipelines.flows.reproduce import Parallel
from pipelines.flows.stage_tasks import bring_up_to_date
from pipelines.project.datasets import known_dataset
from pipelines.project.experiments import dvc


@flow(name="prepare")
def prepare(dataset: Name, pull: bool = False, max_parallel: Parallel = 1) -> State[None]:
    """Prepare the clips of a dataset, new ones among them; clips that did not change cost nothing.

    Args:
        dataset: A dataset of params.yaml.
        pull: Fetch its raw files from the DVC remote first.
        max_parallel: Stages that may run at the same time.
    """

    def before(root: Path) -> None:
        known_dataset(root, dataset)
        if pull:
            _pull(layout.raw_folder(dataset), root)

    return bring_up_to_date([f"quality@{dataset}"], max_parallel=max_parallel, before=before)


def _pull(folder: Path, root: Path) -> None:
    try:
        pull_raw_files(folder, root)
    except CommandFailed as error:
        raise ValueError(f"{folder} could not be pulled: {error}") from error


# The one thing that is tried again: a remote that is away may be back soon.
@task(retries=3, retry_delay_seconds=exponential_backoff(5), cache_policy=NO_CACHE)
def pull_raw_files(folder: Path, root: Path) -> None:
    """Fetch raw files from the DVC remote.

    Raises:
        CommandFailed: If they do not come.
    """
    processes = Processes()
    try:
        processes.run(dvc("pull", str(folder)), get_run_logger().info, root)
    except BaseException:
        processes.end_all()
        raise
