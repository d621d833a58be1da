"""Send to MLflow what stages logged while it could not be reached."""

from hicmae.command import parser, run
from hicmae.layout import project_root
from hicmae.tracking.outbox import waiting_folders
from hicmae.tracking.runs import RunStore
from hicmae.tracking.stage_runs import outboxes, project_of, send_waiting

EXAMPLES = """
python -m hicmae.tracking.send_metrics
MLFLOW_TRACKING_URI=http://mlflow.my-lab.org:5000 python -m hicmae.tracking.send_metrics
"""


def main() -> int:
    """Send what waits for the store in use, and name what is left; 0 if nothing is."""
    parser("Send to MLflow what stages logged while it could not be reached.", EXAMPLES).parse_args()
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
    if not left:
        print("MLflow has everything")
    return 1 if left else 0


if __name__ == "__main__":
    run(main)
