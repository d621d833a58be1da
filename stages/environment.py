"""The process environment in which no tool of the workflow phones home, starts too much or gives up too early."""

import os

DEFAULTS = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # what cannot be sent waits in an outbox
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin for each other crawl on a machine that is busy otherwise
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def prepare() -> None:
    """Set what the user has not set. MLflow, Prefect and OpenMP read it while they are loaded."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
