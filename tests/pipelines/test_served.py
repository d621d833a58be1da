"""Deployments on a real server, run by a real worker: triggered, watched, cancelled, killed, started again."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelling

from tests.pipelines.served import Site, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ENDS_WITHIN_SECONDS = 10


def cancel(site: Site, run) -> None:
    """What the button in the UI does."""
    site.server.client.set_flow_run_state(run.id, Cancelling())


def ctrl_c(site: Site, run) -> None:
    """What a terminal does: it tells the worker and whatever is in its process group."""
    os.killpg(site.worker.pid, signal.SIGINT)


def sigterm(site: Site, run) -> None:
    site.worker.send_signal(signal.SIGTERM)


def kill_9(site: Site, run) -> None:
    site.worker.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("ending", [cancel, ctrl_c, sigterm, kill_9])
def test_no_stage_outlives_its_run_and_the_next_run_goes_on(project, site: Site, ending) -> None:
    project.set_mishaps(endless="pretrain")
    run = site.trigger("reproduce")
    pid_file = project.root / "pid.txt"
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), 120, site.worker_log)
    assert len(site.processes()) >= 4, "flow, supervisor, dvc, stage"
    ending(site, run)
    seconds = wait_for(lambda: not site.processes(), ENDS_WITHIN_SECONDS + 20, lambda: f"{site.processes()} run on")
    assert seconds < ENDS_WITHIN_SECONDS
    wait_for(lambda: site.server.client.read_flow_run(run.id).state.is_final(), 60, site.worker_log)
    assert site.state_of(run) == ("Cancelled" if ending is cancel else "Crashed")

    project.set_mishaps()
    project.ran()
    if ending is not cancel:
        site.worker.wait(60)
        site.worker = site.start_worker()
    again = site.wait_until(site.trigger("reproduce"), "Completed")
    assert again.state.message == "2 cached, 4 ran"
    assert project.ran() == ["pretrain", "finetune-1", "finetune-2", "summarise"]


def test_a_run_is_watched_in_its_logs_and_artifacts(project, site: Site) -> None:
    project.set_mishaps(broken="finetune-2")
    run = site.wait_until(site.trigger("reproduce", targets=["finetune"]), "Failed")
    alone = "dvc repro --single-item folds/demo/dvc.yaml:finetune@2"
    assert f"stage finetune@demo-2 failed; to run it alone: {alone}" in run.state.message
    assert "finetune-2 cannot go on: fix it" in run.state.message
    tasks = site.server.client.read_task_runs()
    states = {task.name: task.state_name for task in tasks if task.flow_run_id == run.id}
    assert states["finetune@demo-1"] == "Completed"
    assert states["finetune@demo-2"] == "Failed"
    assert "working on finetune-1" in site.logs_of(run)
    found = site.server.client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    )
    artifacts = {artifact.key: artifact for artifact in found}
    assert set(artifacts) == {"reproduce", "reproduce-stages", "reproduce-progress"}
    rows = {row["stage"]: row["status"] for row in json.loads(artifacts["reproduce-stages"].data)}
    assert rows["finetune@demo-2"] == "failed"
    assert artifacts["reproduce-progress"].description.startswith("4 of 5 stages done")


def test_a_mistaken_parameter_is_refused_by_the_server(site: Site) -> None:
    with pytest.raises(PrefectHTTPStatusError, match="smell"):
        site.trigger("cross-validate", dataset="demo", modality="smell")
    assert site.runs_of("cross-validate") == []


def announce(site: Site, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.flows.announce", "demo", *arguments]
    return subprocess.Popen(command, cwd=site.root, env=site.environment, stderr=subprocess.PIPE, text=True)


def prepared(site: Site, count: int) -> FlowRun:
    """The last of `count` runs of `prepare`, when it has ended well."""
    wait_for(lambda: len(site.runs_of("prepare")) == count, 60, site.worker_log)
    return site.wait_until(max(site.runs_of("prepare"), key=lambda run: run.created), "Completed")


def test_announced_clips_are_prepared(project, site: Site) -> None:
    """Clips that lie there, then some that come, then some that come by the DVC remote."""
    raw = project.root / "data" / "raw" / "demo"
    raw.mkdir(parents=True)
    graph = (project.root / "dvc.yaml").read_text()
    (project.root / "dvc.yaml").write_text(graph.replace("deps: [raw.txt]", 'deps: [raw.txt, "data/raw/${key}"]'))
    (raw / "first.mp4").write_text("film")
    watcher = announce(site, "--watch")
    run = prepared(site, 1)
    assert run.parameters == {"dataset": "demo", "pull": False}
    assert run.state.message == "1 ran"
    (raw / "second.mp4").write_text("film")
    assert prepared(site, 2).state.message == "1 ran"
    watcher.send_signal(signal.SIGINT)
    told = watcher.communicate(timeout=30)[1].splitlines()
    assert told == ["announced new clips of demo"] * 2 + ["interrupted; run the same command again to go on"]

    project.dvc("remote", "add", "--quiet", "--default", "store", str(project.root.with_name("remote")))
    (raw / "third.mp4").write_text("film")
    project.dvc("add", "--quiet", "data/raw/demo")
    project.dvc("push", "--quiet")
    for folder in (raw, project.root / ".dvc" / "cache"):
        shutil.rmtree(folder)
    project.ran()
    assert announce(site, "--pull").wait(60) == 0
    run = prepared(site, 3)
    assert run.parameters == {"dataset": "demo", "pull": True}
    assert run.state.message == "1 ran"
    assert project.ran() == ["quality-demo"]
    assert sorted(path.name for path in raw.iterdir()) == ["first.mp4", "second.mp4", "third.mp4"]


def test_runs_of_one_workspace_wait_for_each_other(project, site: Site) -> None:
    project.set_mishaps(endless="pretrain")
    first = site.trigger("reproduce")
    wait_for((project.root / "pid.txt").exists, 120, site.worker_log)
    second = site.trigger("prepare", dataset="demo")
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "pipelines.flows.reproduce", "--targets", "quality"],
        env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert by_hand.stdout is not None
    assert any("another flow is at work" in line for line in by_hand.stdout)
    assert site.state_of(second) in ("Scheduled", "Pending", "Late")
    cancel(site, first)
    assert by_hand.wait(60) == 0
    site.wait_until(second, "Completed")
