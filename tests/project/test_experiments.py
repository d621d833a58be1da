"""DVC's experiments as git holds them."""

import os
import subprocess
from pathlib import Path

import pytest

from pipelines.project.experiments import (
    Finished,
    add_graph_to_index,
    check_identity,
    dvc,
    finished,
    finished_here,
    git,
    params_of,
    queue,
    start_queue,
)
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one commit, on which params.yaml is that of this project."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "test")
    git(tmp_path, "config", "user.email", "test@example.org")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    git(tmp_path, "add", "params.yaml")
    git(tmp_path, "commit", "-qm", "start")
    return tmp_path


def commit(project: Path, text: str, second: int) -> str:
    """A commit beside the branch, whose params.yaml is `text`."""
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=project, input=text, capture_output=True, text=True, check=True
    ).stdout.strip()
    tree = subprocess.run(
        ["git", "mktree"], cwd=project, input=f"100644 blob {blob}\tparams.yaml\n", capture_output=True, text=True,
        check=True,
    ).stdout.strip()  # fmt: skip
    date = {"GIT_COMMITTER_DATE": f"{1_700_000_000 + second} +0000"}
    return subprocess.run(
        ["git", "commit-tree", tree, "-m", "x"], cwd=project, env=date, capture_output=True, text=True,
        check=True,
    ).stdout.strip()  # fmt: skip


def test_experiments_are_found_newest_first_and_the_queue_s_own_references_are_not(project: Path) -> None:
    head = git(project, "rev-parse", "HEAD").strip()
    text = (project / "params.yaml").read_text()
    old, new = commit(project, text.replace("seed: 0", "seed: 4", 1), 0), commit(project, "no: parameters", 9)
    for baseline, what in (("aa" + "b" * 38, old), (head, new)):
        git(project, "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/probe", what)
    for reference in ("refs/exps/stash", "refs/exps/celery/stash", "refs/exps/exec/EXEC_HEAD"):
        git(project, "update-ref", reference, old)
    found = finished(project)
    assert finished_here(project) == [Finished("probe", new, head)]
    assert found == [Finished("probe", new, head), Finished("probe", old, "aa" + "b" * 38)]
    assert params_of(project, found[0]) is None
    ran = params_of(project, found[1])
    assert ran is not None
    assert ran.seed == 4


def test_what_a_command_complains_of_is_told(project: Path) -> None:
    with pytest.raises(ValueError, match=r"`git show nothing:params.yaml ...` failed: .*nothing"):
        git(project, "show", "nothing:params.yaml")


@pytest.mark.timeout(240)
def test_without_an_identity_experiments_are_refused_before_they_cost_anything(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    check_identity(project)
    git(project, "config", "--unset", "user.email")
    with pytest.raises(ValueError, match=r"git has no user\.email: .*`git config --global user\.email "):
        check_identity(project)


def test_a_new_dataset_whose_clips_dvc_does_not_keep_can_be_experimented_on(project: Path) -> None:
    """Of `folds/mine/dvc.yaml`, `dvc.lock` and the clips git knows nothing, as after `pipelines.project.datasets`."""
    subprocess.run(dvc("init", "-q"), cwd=project, check=True)
    (project / ".gitignore").write_text("/data\n")
    (project / "dvc.yaml").write_text(
        "stages:\n  prepare:\n    cmd: cp data/raw/mine/clip data/clip\n    deps: [data/raw/mine]\n"
        "    outs: [data/clip]\n"
    )
    git(project, "add", "-A")
    git(project, "commit", "-qm", "graph")
    (project / "data/raw/mine").mkdir(parents=True)
    (project / "data/raw/mine/clip").write_text("a clip")
    (project / "folds/mine").mkdir(parents=True)
    (project / "folds/mine/dvc.yaml").write_text(
        "stages:\n  finetune:\n    wdir: ../..\n    cmd: cat data/clip > trained.txt\n    deps: [data/clip]\n"
        "    params: [seed]\n    outs: [trained.txt]\n"
    )
    target = "folds/mine/dvc.yaml:finetune"
    subprocess.run(dvc("repro", "-q", target), cwd=project, check=True)
    add_graph_to_index(project)
    staged = git(project, "diff", "--cached", "--name-only").split()
    assert staged == ["dvc.lock", "folds/mine/dvc.lock", "folds/mine/dvc.yaml"]
    queue(project, "other", ["++seed=7"], [target])
    assert start_queue(project, 1, project / "log.txt", os.environ).wait() == 0, (project / "log.txt").read_text()
    assert [done.name for done in finished(project)] == ["other"]
