"""The process environment in which no tool of the workflow phones home or starts what nobody asked for."""

import os

QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def prepare() -> None:
    """Set what the user has not set. MLflow and Prefect read it while they are imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
