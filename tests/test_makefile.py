"""`make` in folders as users have them: odd names, moved or copied, a downloaded zip, with git in every state."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from hicmae.folder_check import check_folder, commit_problem
from hicmae.layout import git_state
from pipelines.project.launchers import make_portable
from tests.conftest import ROOT, Project, copy_repository

ODD = "a b's #1 (ü & 視) [x] $y"
GRAPH = """
stages:
  only:
    cmd: >-
      python -c "import pipelines.project.datasets, os; os.makedirs('reports/demo');
      open('reports/demo/results.md', 'w').write('done')"
    outs: [reports/demo/results.md]
"""
FOLDS = "stages:\n  fold:\n    cmd: python -c 0\n"
IDENTITY = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make with the environment of this Python, which it must not install anew."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DVC_ROOT", "MAKEFLAGS")}
    command = ["make", "-o", ".venv/.ready", *arguments]
    return subprocess.run(command, cwd=folder, env={**clean, **environment}, capture_output=True, text=True)


@pytest.fixture
def odd_project(tmp_path: Path) -> Project:
    project = copy_repository(tmp_path / ODD / "project")
    (project.folder / ".venv").symlink_to(Path(sys.prefix))
    return project


def unpacked(folder: Path) -> Path:
    """What a downloaded zip has of the project, as far as `make` looks."""
    for name in (
        "Makefile",
        "requirements.lock",
        "pyproject.toml",
        "hicmae/folder_check.py",
        ".dvc/config",
        "dvc.yaml",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env={**os.environ, **IDENTITY})


def test_a_folder_s_name_may_hold_anything(odd_project):
    folder = odd_project.folder
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / "folds" / "template.yaml").write_text(FOLDS)
    for target in ("demo", "experiments"):
        result = make(folder, target)
        assert result.returncode == 0, result.stdout + result.stderr
    assert "main" in result.stdout or "master" in result.stdout  # the table's row of the commit
    assert (folder / "reports/demo/results.md").read_text() == "done"
    assert "the demo" in make(folder, "help").stdout


@pytest.mark.parametrize(
    "target", ["compare", "test", "lint", "mlflow", "bench", "ablation", "study", "lock", "test-all"]
)
def test_every_target_calls_commands_that_are_there(odd_project, target):
    lines = make(odd_project.folder, "-n", target).stdout.splitlines()
    commands = [line for line in lines if ".venv/bin" in line]
    assert commands
    for line in commands:
        assert ODD not in line, "a shell would take the name apart"
        script = f"set -- {line.split('.venv/bin/')[1]}; test -x .venv/bin/$1"
        subprocess.run(["bash", "-c", script], cwd=odd_project.folder, check=True)


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_real_graph_runs_in_a_folder_with_an_odd_name(odd_project):
    result = make(odd_project.folder, "demo")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "UAR" in result.stdout
    assert len([*odd_project.folder.glob("mlartifacts/*/artifacts/model.safetensors")]) >= 2
    flow = odd_project.run("python", "-m", "pipelines.flows.reproduce")
    assert "15 cached" in flow.stdout


def test_a_downloaded_zip_is_told_before_the_installation(tmp_path):
    folder = unpacked(tmp_path / "zip")
    for target in ("demo", "test", "setup"):
        result = subprocess.run(["make", target], cwd=folder, capture_output=True, text=True)
        assert result.returncode != 0
        assert "git init" in result.stderr
        assert "no_scm" in result.stderr
        assert "Traceback" not in result.stderr
    assert not (folder / ".venv").exists()


def test_both_ways_for_a_zip_work(tmp_path):
    folder = unpacked(tmp_path / "zip")
    with pytest.raises(ValueError, match="git init") as problem:
        check_folder(folder)
    command = str(problem.value).split("`")[3]
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    check_folder(folder)
    assert make(folder, "-n", "demo").returncode == 0
    (folder / "dvc.yaml").write_text("stages:\n  one:\n    cmd: echo it runs\n")
    assert "it runs" in subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, capture_output=True, text=True
    ).stdout  # fmt: skip
    (folder / ".dvc" / "config.local").unlink()
    git(folder, "init")
    check_folder(folder)


def test_why_runs_name_no_commit(tmp_path, monkeypatch):
    folder = unpacked(tmp_path / "outer" / "zip")
    assert "git init" in commit_problem(folder)
    git(tmp_path / "outer", "init")
    (tmp_path / "outer" / "mine.txt").write_text("somebody's notes")
    assert "commit" in commit_problem(folder)
    git(tmp_path / "outer", "add", "mine.txt")
    git(tmp_path / "outer", "commit", "-m", "notes")
    assert "around" in commit_problem(folder)
    assert git_state(folder) == ("", False)  # the commit of somebody's notes would be a lie
    git(tmp_path / "outer", "add", "-A")
    git(tmp_path / "outer", "commit", "-m", "all")
    assert commit_problem(folder) == ""
    assert len(git_state(folder)[0]) == 40
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert "safe.directory" in commit_problem(folder)
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install git" in commit_problem(folder)
    assert git_state(folder) == ("", False)


@pytest.mark.parametrize("name", ["a:b", "100% mine", "why?"])
def test_a_folder_that_a_tool_cannot_take_is_told_before_the_installation(tmp_path, name):
    folder = unpacked(tmp_path / name)
    git(folder, "init")
    result = subprocess.run(["make", "demo"], cwd=folder, capture_output=True, text=True)
    assert result.returncode != 0
    assert f"error: {folder}: " in result.stderr
    assert "rename" in result.stderr
    assert not (folder / ".venv").exists()


def small_environment(project: Path) -> Path:
    """A virtual environment with a command, as pip and venv make them."""
    environment = project / ".venv"
    venv.create(environment, symlinks=True, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "__editable__.hicmae-0.1.0.pth").write_text(f"import sys; sys.path.append({str(project)!r})\n")
    (project / "where.py").write_text("import os, sys\nprint(os.path.dirname(__file__), sys.prefix, sys.argv[1:])\n")
    launcher = f"#!{environment}/bin/python\n"
    if " " in str(project):
        launcher = f"#!/bin/sh\n'''exec' \"{environment}/bin/python\" \"$0\" \"$@\"\n' '''\n"
    (environment / "bin" / "where").write_text(f"{launcher}import where\n")
    (environment / "bin" / "where").chmod(0o755)
    make_portable(environment, packages)
    return environment


@pytest.mark.parametrize(("before", "after"), [("old", "a new place"), ("an old place", "new"), ("old", ODD)])
def test_commands_of_a_moved_or_copied_environment_are_its_own(tmp_path, before, after):
    (tmp_path / before).mkdir()
    environment = small_environment(tmp_path / before)
    once = {path: path.read_bytes() for path in environment.rglob("*") if path.is_file()}
    (packages,) = environment.glob("lib/python*/site-packages")
    make_portable(environment, packages)
    assert once == {path: path.read_bytes() for path in environment.rglob("*") if path.is_file()}
    shutil.copytree(tmp_path / before, tmp_path / after, symlinks=True)
    (tmp_path / before).rename(tmp_path / "moved")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    for folder in (tmp_path / after, tmp_path / "moved"):
        for script in ('exec .venv/bin/where "a b"', '. .venv/bin/activate && where "a b"'):
            said = subprocess.run(
                ["bash", "-c", script], cwd=folder, env=clean, check=True, capture_output=True, text=True
            ).stdout
            assert said.strip() == f"{folder} {folder}/.venv ['a b']"
