"""No command of ours reaches out of the machine: every connect() of it and its children is watched."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")]
_CONNECT = re.compile(r"connect\(\d+, \{sa_family=AF_INET6?,.*?\"(?P<address>[0-9a-fA-F.:]+)\"")
_OURS = re.compile(r"127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+|0\.0\.0\.0|::")
COMMANDS = {
    "dvc": ["dvc", "repro"],
    "flow": ["pipelines.reproduce"],
    "corpora": ["stages.prepare", "--list"],
    "metrics": ["stages.send_metrics"],
    "cli": ["stages.cli", "doctor"],
}


def outside(trace: Path) -> tuple[int, set[str]]:
    """How many addresses were connected to, and those that are not this machine's own."""
    found = [match["address"] for match in _CONNECT.finditer(trace.read_text(errors="replace"))]
    return len(found), {address for address in found if not _OURS.fullmatch(address)}


def test_a_connection_is_seen(tmp_path: Path) -> None:
    code = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    trace = tmp_path / "trace"
    subprocess.run(["strace", "-f", "-e", "trace=connect", "-o", trace, sys.executable, "-c", code], check=False)
    assert outside(trace) == (1, {"192.0.2.1"})


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_stays_on_the_machine(name: str, project, tmp_path: Path) -> None:
    environment = {key: value for key, value in project.environment().items() if not key.startswith("PREFECT")}
    for telemetry in ("DVC_NO_ANALYTICS", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
        environment.pop(telemetry, None)
    shutil.copy(ROOT / ".dvc" / "config", project.root / ".dvc" / "config")
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-s",
        "200",
        "-e",
        "trace=connect,sendto,sendmmsg",
        "-o",
        str(trace),
        sys.executable,
        "-m",
        *COMMANDS[name],
    ]
    result = subprocess.run(
        command,
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
