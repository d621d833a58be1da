"""The environment that every command runs in: nothing phones home."""

import os

_SETTINGS = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",  # MLflow ignores "1"
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def prepare() -> None:
    """Switch off the telemetry of DVC, Prefect and MLflow, unless the user has set otherwise."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
