"""Take a folder of clips into the project and prepare it."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.states import State

from hicmae_core.config import Name
from pipelines.flows.reproduce import Parallel
from pipelines.flows.stage_tasks import bring_up_to_date
from pipelines.project.datasets import add_dataset


@flow(name="import-dataset")
def import_dataset(name: Name, root: Path, max_parallel: Parallel = 1) -> State[None]:
    """Link a folder of clips under data/raw, add its entry to params.yaml, and prepare it.

    Args:
        name: A published corpus, such as ``crema_d``, or a new name for a folder that has a manifest.csv.
        root: The folder, on the machine that does the work.
        max_parallel: Stages that may run at the same time.
    """
    return bring_up_to_date(
        [f"quality@{name}"], max_parallel=max_parallel, before=lambda project: add_dataset(project, name, root)
    )
