"""No command of ours reaches out of the machine: every connect() of it and its children is watched."""

import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipelines.served import MlflowServer, Server, Site, with_deployments

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
_CONNECT = re.compile(r"connect\(\d+, \{sa_family=AF_INET6?,.*?\"(?P<address>[0-9a-fA-F.:]+)\"")
_OURS = re.compile(r"127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+|0\.0\.0\.0|::")
COMMANDS = {
    "dvc": ["dvc", "repro"],
    "flow": ["pipelines.flows.reproduce"],
    "corpora": ["hicmae.cli", "corpora"],
    "metrics": ["hicmae.cli", "send-metrics"],
    "cli": ["hicmae.cli", "doctor"],
}


def outside(trace: Path) -> tuple[int, set[str]]:
    """How many addresses were connected to, and those that are not this machine's own."""
    found = [match["address"] for match in _CONNECT.finditer(trace.read_text(errors="replace"))]
    return len(found), {address for address in found if not _OURS.fullmatch(address)}


def watching(trace: Path) -> list[str]:
    """What goes before a command whose connections are to be added to a file."""
    return ["strace", "-A", "-D", "-f", "--seccomp-bpf", "-e", "trace=connect", "-o", str(trace)]


def test_a_connection_is_seen(tmp_path: Path) -> None:
    code = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    trace = tmp_path / "trace"
    subprocess.run([*watching(trace), sys.executable, "-c", code], check=False)
    assert outside(trace) == (1, {"192.0.2.1"})


@pytest.fixture
def environment(project) -> dict[str, str]:
    """Of somebody who has switched nothing off."""
    switches = ("PREFECT", "DVC_NO_ANALYTICS", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")
    return {key: value for key, value in project.environment().items() if not key.startswith(switches)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_stays_on_the_machine(name: str, project, environment: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(ROOT / ".dvc" / "config", project.root / ".dvc" / "config")
    trace = tmp_path / "trace"
    result = subprocess.run(
        [*watching(trace), sys.executable, "-m", *COMMANDS[name]],
        cwd=project.root,
        env={**environment, "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert "Traceback" not in result.stderr, result.stderr
    num_connections, elsewhere = outside(trace)
    assert elsewhere == set()
    assert name != "flow" or num_connections > 0, "a flow talks to its server"


def test_servers_deploying_and_worker_stay_on_the_machine(project, environment: dict[str, str], tmp_path: Path) -> None:
    traces = {name: tmp_path / f"{name}.trace" for name in ("mlflow", "prefect", "site")}
    with ExitStack() as running:
        mlflow = MlflowServer(tmp_path, watching(traces["mlflow"]))
        running.callback(mlflow.end)
        server = Server(tmp_path, watching(traces["prefect"]))
        running.callback(server.end)
        tracked = {**environment, "MLFLOW_TRACKING_URI": mlflow.address}
        site = Site(with_deployments(project.root), server, tracked, watching(traces["site"]))
        running.callback(site.end)
        site.wait_until(site.trigger("reproduce"), "Completed")
    for name, trace in traces.items():
        num_connections, elsewhere = outside(trace)
        assert elsewhere == set(), name
        assert name != "site" or num_connections > 0, "it talks to its servers"
