"""A real MLflow server on any store, that a test can kill and start again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


class Server:
    """An MLflow server, each time with the environment that it is made in.

    Args:
        folder: Its working directory, with its log.
        store: Such as ``sqlite:///...`` or ``postgresql://...``.
        artifacts: A folder, or ``s3://...``.
    """

    def __init__(self, folder: Path, store: str, artifacts: str) -> None:
        port = free_port()
        self.uri = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._environment = dict(os.environ)
        self._command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        self._command += ["--port", str(port), "--backend-store-uri", store, "--artifacts-destination", artifacts]

    def start(self) -> None:
        with open(self._folder / "server.log", "a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError((self._folder / "server.log").read_text(encoding="utf-8"))

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
