"""Behind a proxy: what runs on this machine is reached without it, everything else through it."""

import os
import subprocess
import sys
import time

import pytest

from hicmae import environment
from tests.conftest import ROOT

DEAD = "http://127.0.0.1:9"
NAMES = [name for each in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (each, each.upper())]


@pytest.fixture
def no_proxies(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", NAMES[:-2])
def test_this_machine_is_kept_off_any_proxy(no_proxies, name):
    no_proxies.setenv(name, DEAD)
    no_proxies.setenv("NO_PROXY", "intranet.example, .lab")
    no_proxies.setenv("no_proxy", "")
    environment.prepare()
    environment.prepare()
    expected = "intranet.example,.lab,127.0.0.1,localhost,::1"
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == expected


def test_all_hosts_stay_all_hosts(no_proxies):
    no_proxies.setenv("HTTP_PROXY", DEAD)
    no_proxies.setenv("no_proxy", "*")
    environment.prepare()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "*"


def test_without_a_proxy_nothing_is_set(no_proxies):
    environment.prepare()
    assert "NO_PROXY" not in os.environ


def test_a_remote_server_is_asked_through_the_proxy(no_proxies):
    no_proxies.setenv("HTTP_PROXY", DEAD)
    environment.prepare()
    assert "127.0.0.1" in environment.proxy_of("http://mlflow.my-lab.org:5000")
    for here in ("http://127.0.0.1:4200/api", "http://localhost:5000", "http://[::1]:5000", "sqlite:///mlflow.db"):
        assert environment.proxy_of(here) == ""


def behind_a_dead_proxy(project, *arguments: str, **settings: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a command where all proxy variables lead nowhere; returns what it said and the seconds it took."""
    clean = {name: value for name, value in project.environment().items() if name not in (*NAMES, "PREFECT_API_URL")}
    proxies = dict.fromkeys(NAMES[:-2], DEAD)
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project.root,
        env={**clean, **proxies, **settings},
        capture_output=True,
        text=True,
    )
    return result, time.monotonic() - start


def test_a_flow_runs_on_a_server_of_its_own(project, tmp_path):
    result, _ = behind_a_dead_proxy(
        project, "pipelines.flows.reproduce", "--targets", "pretrain", PREFECT_HOME=str(tmp_path / "prefect")
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pretrain" in project.ran()


def test_a_flow_is_told_to_a_server_on_this_machine(project, server):
    result, _ = behind_a_dead_proxy(
        project, "pipelines.flows.reproduce", "--targets", "pretrain", PREFECT_API_URL=server.api
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "variable", "url"),
    [
        (["pipelines.flows.reproduce"], "PREFECT_API_URL", "http://prefect.my-lab.example:4200/api"),
        (["pipelines.flows.reproduce"], "PREFECT_API_URL", "http://127.0.0.1:9/api"),
        (["pipelines.flows.announce", "demo"], "PREFECT_API_URL", "http://prefect.my-lab.example:4200/api"),
        (["hicmae.cli", "send-metrics"], "MLFLOW_TRACKING_URI", "http://mlflow.my-lab.example:5000"),
        (["hicmae.cli", "send-metrics"], "MLFLOW_TRACKING_URI", "http://localhost:9"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_in_a_sentence(project, command, variable, url):
    result, seconds = behind_a_dead_proxy(project, *command, **{variable: url})
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert url in line
    assert ("proxy" in line) == ("example" in url)
    assert f"unset {variable}" in line
    assert "Traceback" not in result.stderr
    assert seconds < 60  # most of it is loading Prefect, on a busy machine


def test_metrics_reach_an_mlflow_server_on_this_machine(tmp_path, no_proxies):
    from tests.pipelines.served import MlflowServer

    served = MlflowServer(tmp_path)
    script = (
        "import stages; from mlflow import MlflowClient; import sys;"
        "print(len(MlflowClient(sys.argv[1]).search_experiments()))"
    )
    try:
        said = subprocess.run(
            [sys.executable, "-c", script, served.address],
            env={**os.environ, **dict.fromkeys(NAMES[:-2], DEAD), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    finally:
        served.end()
    assert said.stdout.strip() == "1", said.stderr
