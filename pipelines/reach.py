"""Whether the Prefect server that flows report to can be reached: Prefect itself would try for minutes."""

from __future__ import annotations

import urllib.error
import urllib.request

from prefect.settings import PREFECT_API_URL

from stages.environment import proxy_of
from stages.sender import reason

_TIMEOUT_SECONDS = 10
_PROXY_WANTS_A_PASSWORD = 407


def check_server() -> None:
    """See that the server answers; without `PREFECT_API_URL` a flow starts one of its own.

    Raises:
        ValueError: If it does not, with what to do.
    """
    url = PREFECT_API_URL.value()
    if not url:
        return
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code < 500 and error.code != _PROXY_WANTS_A_PASSWORD:
            return  # it answers; what it wants is between it and Prefect
        why = f"{error.code} {error.reason}"
    except (OSError, ValueError) as error:
        if "certificate" in str(error).lower():
            return  # Prefect has settings for it
        why = reason(error)
    raise ValueError(
        f"the Prefect server at {url} cannot be reached{proxy_of(url)} ({why}): "
        "start it (`prefect server start`), or unset PREFECT_API_URL to go on without one"
    )
