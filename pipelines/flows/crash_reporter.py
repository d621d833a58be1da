"""Tells Prefect that a flow run is over when its process disappears without having said so.

A worker that ends on Ctrl-C or SIGTERM kills its flow runs outright. Their runs would stay "Running" for ever, and
keep the place of the next one. Whoever starts this script holds the other end of its standard input.

Usage: python crash_reporter.py FLOW_RUN_ID
"""

import sys
import time
from uuid import UUID

_OTHERS_TELL_WITHIN_SECONDS = 15.0
"""The flow itself, or the worker that cancelled it."""


def main(flow_run_id: UUID) -> None:
    """Wait for the end of standard input, then see to it that the run has a final state."""
    sys.stdin.buffer.read()
    from prefect import get_client  # takes seconds and memory, and is needed at the end alone
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + _OTHERS_TELL_WITHIN_SECONDS
        while time.monotonic() < deadline:
            state = client.read_flow_run(flow_run_id).state
            if state is None or state.is_final():
                return
            time.sleep(1)
        client.set_flow_run_state(flow_run_id, Crashed(message="its process was killed; start it again to go on"))


if __name__ == "__main__":
    main(UUID(sys.argv[1]))
