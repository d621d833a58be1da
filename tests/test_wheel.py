"""The wheel, installed without the clone, in an environment without the extras."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT


def core_distributions() -> set[str]:
    """What `pip install hicmae` brings, by normalised name."""
    found: set[str] = set()
    waiting = ["hicmae"]
    while waiting:
        name = waiting.pop()
        for line in requires(name) or ():
            wanted = Requirement(line)
            key = re.sub(r"[-_.]+", "-", wanted.name).lower()
            if key not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
                found.add(key)
                waiting.append(wanted.name)
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages: the wheel's, and links to those of the core dependencies."""
    built = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "hicmae"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        built,
        source,
    ]
    subprocess.run(command, check=True)
    packages = tmp_path_factory.mktemp("packages")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(packages)
    for name in core_distributions():
        one = distribution(name)
        for top in {file.parts[0] for file in one.files or () if ".." not in file.parts}:
            link = packages / top
            if not link.exists() and "__pycache__" not in top:
                link.symlink_to(one.locate_file(top))
    return packages


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in an empty folder, with these packages and the standard library alone."""
    code = [sys.executable, "-S", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200", "TERM": "dumb"}
    return subprocess.run(code, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-c", "import hicmae; print(hicmae.__file__)"], "packages"),
        (["-m", "hicmae.cli", "--help"], "predict"),
        (["-m", "hicmae.cli", "predict", "--help"], "Examples"),
        (
            [
                "-c",
                "from hicmae_core.training import pretrain; from hicmae_core.finetuning import finetune; print('ok')",
            ],
            "ok",
        ),
    ],
)
def test_it_works_without_the_clone(installed: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = run(installed, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


@pytest.mark.parametrize("folder", ["hicmae/web", "hicmae_core/reports"])
def test_the_wheel_holds_what_pages_are_made_of(installed: Path, folder: str) -> None:
    files = {path.name for path in (ROOT / folder).iterdir() if path.suffix in (".html", ".css", ".js")}
    assert files
    assert {path.name for path in (installed / folder).iterdir()} >= files


def test_the_wheel_holds_the_recipes_and_types_and_no_programs_of_the_project(installed: Path) -> None:
    presets = {path.name for path in (ROOT / "hicmae_core" / "presets").rglob("*.yaml")}
    assert {path.name for path in (installed / "hicmae_core" / "presets").rglob("*.yaml")} == presets
    assert (installed / "hicmae" / "py.typed").is_file()
    assert (installed / "hicmae_core" / "py.typed").is_file()
    assert not (installed / "stages").exists()
    assert not (installed / "pipelines").exists()


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [(["predict", "a.mp4", "--model", "m.safetensors"], "av", "media"), (["serve"], "uvicorn", "workflow")],
)
def test_a_missing_extra_is_named(installed: Path, tmp_path: Path, command: list[str], module: str, extra: str) -> None:
    (tmp_path / "a.mp4").touch()
    done = run(installed, tmp_path, "-m", "hicmae.cli", *command)
    assert done.returncode == 1
    assert f"pip install 'hicmae[{extra}]'" in done.stderr
    assert module in done.stderr or "cv2" in done.stderr
