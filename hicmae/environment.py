"""The process environment in which no tool of the workflow phones home, starts too much or gives up too early."""

import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_NO_PROXY = ("no_proxy", "NO_PROXY")
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")

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
    _keep_loopback_off_proxies()


def proxy_of(url: str) -> str:
    """In words, for an error: the proxy through which an address is reached; empty without one."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme) or getproxies().get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    return f" through the proxy {urlsplit(proxy).hostname}, which NO_PROXY={parts.hostname} would leave out"


def _keep_loopback_off_proxies() -> None:
    """Keep requests to servers on this machine off proxies, which would look for the server on their own machine."""
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    given = ",".join(os.environ.get(name, "") for name in _NO_PROXY)
    hosts = dict.fromkeys([*filter(None, map(str.strip, given.split(","))), *_THIS_MACHINE])
    for name in _NO_PROXY:  # some tools read the one, some the other
        os.environ[name] = "*" if "*" in hosts else ",".join(hosts)
