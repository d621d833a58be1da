"""A real Prefect server, a real MLflow server, and a project whose deployments a real worker runs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun

from tests.conftest import ROOT


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition: Callable[[], Any], seconds: float, what: Callable[[], str]) -> float:
    """Wait until something is so; the seconds it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + seconds, f"waited {seconds} s in vain: {what()}"
        time.sleep(0.1)
    return time.monotonic() - start


def answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.TransportError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Server:
    """``prefect server start`` with a SQLite file in `folder`; `tracer` is a command that goes before it."""

    def __init__(self, folder: Path, tracer: Sequence[str] = ()) -> None:
        port = str(free_port())
        self.api = f"http://127.0.0.1:{port}/api"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_API_PORT": port,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "DO_NOT_TRACK": "true",
        }
        self.log = folder / "server.log"
        with open(self.log, "wb") as log:
            command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
            self.process = subprocess.Popen([*tracer, *command], env=self.environment, stdout=log, stderr=log)
        wait_for(lambda: answers(f"{self.api}/health"), 120, self.log.read_text)
        self.client = SyncPrefectClient(self.api)

    def end(self) -> None:
        end(self.process)


class MlflowServer:
    """``mlflow server`` with a SQLite file and artifacts in `folder`; `tracer` is a command that goes before it."""

    def __init__(self, folder: Path, tracer: Sequence[str] = ()) -> None:
        port = str(free_port())
        self.address = f"http://127.0.0.1:{port}"
        log = folder / "mlflow.log"
        with open(log, "wb") as handle:
            command = [
                sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", port,
                "--backend-store-uri", f"sqlite:///{folder}/served.db",
                "--artifacts-destination", str(folder / "artifacts"),
            ]  # fmt: skip
            self.process = subprocess.Popen([*tracer, *command], stdout=handle, stderr=handle)
        wait_for(lambda: answers(f"{self.address}/health"), 120, log.read_text)

    def end(self) -> None:
        end(self.process)


class Site:
    """A project with the deployments of prefect.yaml, on a server, and a worker; `tracer` goes before all commands."""

    def __init__(self, root: Path, server: Server, environment: dict[str, str], tracer: Sequence[str] = ()) -> None:
        self.root = root
        self.server = server
        (root / ".dvc" / "tmp").mkdir(exist_ok=True)
        self.environment = {**environment, **server.environment, "PWD": str(root)}  # prefect.yaml asks for it
        self.tracer = tracer
        self.worker = self.start_worker()
        wait_for(self._has_pool, 60, self.worker_log)
        self.prefect("work-pool", "set-concurrency-limit", "local", "1")
        self.prefect("deploy", "--all")

    def _has_pool(self) -> bool:
        return "local" in [pool.name for pool in self.server.client.read_work_pools()]

    def prefect(self, *arguments: str) -> str:
        """What a ``prefect`` command prints."""
        command = [*self.tracer, sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        result = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def start_worker(self) -> subprocess.Popen[bytes]:
        with open(self.root / ".dvc" / "tmp" / "worker.log", "ab") as log:
            return subprocess.Popen(
                [
                    *self.tracer,
                    sys.executable,
                    "-m",
                    "prefect",
                    "worker",
                    "start",
                    "--pool",
                    "local",
                    "--type",
                    "process",
                ],
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def trigger(self, flow: str, **parameters: Any) -> FlowRun:
        """Trigger a deployment over the API."""
        deployment = self.server.client.read_deployment_by_name(f"{flow}/{flow}")
        return self.server.client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    def state_of(self, run: FlowRun) -> str:
        state = self.server.client.read_flow_run(run.id).state
        assert state is not None
        return state.name

    def wait_until(self, run: FlowRun, state: str, seconds: float = 120) -> FlowRun:
        """Wait until a run has a state; fail soon if it ends in another."""

        def there() -> bool:
            now = self.server.client.read_flow_run(run.id).state
            assert now is not None
            if now.is_final() and now.name != state:
                raise AssertionError(f"{now.name}, not {state}: {now.message}\n{self.worker_log()}")
            return now.name == state

        wait_for(there, seconds, lambda: f"{run.name} was to be {state}; {self.worker_log()}")
        return self.server.client.read_flow_run(run.id)

    def logs_of(self, run: FlowRun) -> str:
        of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        return "\n".join(log.message for log in self.server.client.read_logs(of_run, limit=200))

    def runs_of(self, flow: str) -> list[FlowRun]:
        deployment = self.server.client.read_deployment_by_name(f"{flow}/{flow}")
        runs = self.server.client.read_flow_runs(sort="START_TIME_DESC", limit=50)
        return [run for run in runs if run.deployment_id == deployment.id]

    def worker_log(self) -> str:
        return (self.root / ".dvc" / "tmp" / "worker.log").read_text()[-3000:]

    def processes(self) -> list[psutil.Process]:
        """All that work in the project, the worker apart."""
        found = []
        for process in psutil.process_iter():
            try:
                at_home = Path(process.cwd()).is_relative_to(self.root) and process.status() != psutil.STATUS_ZOMBIE
            except (psutil.AccessDenied, psutil.NoSuchProcess, FileNotFoundError):
                continue
            if at_home and process.pid not in (os.getpid(), self.worker.pid):
                found.append(process)
        return found

    def end(self) -> None:
        end(self.worker)


def with_deployments(root: Path) -> Path:
    """Give a toy project this repository's flows."""
    for name in ("prefect.yaml", "pipelines", "stages", "hicmae", "hicmae_core"):
        (root / name).symlink_to(ROOT / name)
    return root
