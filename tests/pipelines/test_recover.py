import json
import os
import subprocess
import sys

import pytest

from pipelines.flows.workspace import workspace_lock
from pipelines.graph.recover import protect_locks, recover


def test_a_torn_lock_is_put_back(project) -> None:
    lock = project.root / "dvc.lock"
    assert protect_locks(project.root) == []
    project.dvc("repro", "--quiet", "quality@demo")
    whole = lock.read_text()
    assert protect_locks(project.root) == []
    for torn in ("", whole[: len(whole) // 2] + "\n: ["):
        lock.write_text(torn)
        assert protect_locks(project.root) == [lock]
        assert lock.read_text() == whole


def test_every_flow_copies_the_locks_and_fixes_them(project) -> None:
    project.dvc("repro", "--quiet", "folds/demo/dvc.yaml:finetune@1")
    locks = {project.root / name: (project.root / name).read_text() for name in ("dvc.lock", "folds/demo/dvc.lock")}
    told: list[str] = []
    with workspace_lock(project.root, told.append):
        assert told == []
    for lock in locks:
        lock.write_text("")
    with workspace_lock(project.root, told.append):
        assert {lock: lock.read_text() for lock in locks} == locks
    assert told == [f"{lock} was torn by a kill; its copy is back in place" for lock in locks]


def test_without_a_copy_the_results_come_out_of_dvcs_cache(project) -> None:
    project.dvc("repro", "--quiet", "pretrain")
    status = project.dvc("status", "pretrain")
    project.ran()
    lock = project.root / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  pretrain: {cmd")
    readers = project.root / ".dvc" / "tmp" / "rwlock"
    readers.write_text('{"write": {"')
    command = [sys.executable, "-m", "pipelines.graph.recover"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=project.environment()).stdout
    assert "dvc.lock was torn and had no copy: it is gone" in told
    assert "rwlock was left by a process that is gone" in told
    project.dvc("repro", "--quiet", "pretrain")
    assert project.ran() == []
    assert project.dvc("status", "pretrain") == status
    assert recover(project.root) == []


def test_dvc_at_work_is_left_alone(project) -> None:
    entry = {"pid": os.getpid(), "cmd": "dvc repro"}
    readers = project.root / ".dvc" / "tmp" / "rwlock"
    readers.write_text(json.dumps({"write": {"/some/path": entry}, "read": {}}))
    with pytest.raises(ValueError, match=f"DVC is at work in .* \\(process {os.getpid()}\\)"):
        recover(project.root)
    assert readers.exists()
