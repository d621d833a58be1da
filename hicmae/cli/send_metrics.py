"""`hicmae send-metrics`: what waits for MLflow."""

import typer

from hicmae.layout import project_root
from hicmae.tracking.outbox import waiting_folders
from hicmae.tracking.runs import RunStore
from hicmae.tracking.stage_runs import outboxes, project_of, send_waiting

EXAMPLES = """
hicmae send-metrics
MLFLOW_TRACKING_URI=http://mlflow.my-lab.org:5000 hicmae send-metrics
"""


def main() -> None:
    """Send to MLflow what stages logged while it could not be reached, and name what is left.

    The exit code is 0 if nothing is left, 1 if something is.
    """
    store = RunStore(project_root())
    send_waiting(store)
    left = waiting_folders(outboxes(store.root))
    for folder, name in left:
        why = (
            "its stage is running, or try again"
            if name == store.name_in(project_of(store.root))
            else f"set MLFLOW_TRACKING_URI to {name}"
        )
        print(f"{folder} waits: {why}")
    if left:
        raise typer.Exit(1)
    print("MLflow has everything")
