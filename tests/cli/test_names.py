"""Any name of a file works in every writer, and what is finished is kept whatever comes after."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from hicmae_core.files import as_text, atomic_path, in_a_line
from tests.conftest import ROOT

ODD = [
    os.fsdecode(b"caf\xe9.mp4"),
    "two\nlines.mp4",
    'a "quoted", name.mp4',
    "<b>&amp;.mp4",
    "שלום \u202egpj.mp4",
    "日本 😀.mp4",
    "x" * 251 + ".mp4",
    os.fsdecode(b"\xff" * 251 + b".mp4"),
]
ASK = ("--model", "model.safetensors", "--processes", "0")


def hicmae_in(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hicmae.cli", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, errors="surrogateescape")


@pytest.fixture(scope="module")
def odd(folder, tmp_path_factory) -> Path:
    """The model and videos of odd names."""
    place = tmp_path_factory.mktemp("odd")
    shutil.copy(folder / "model.safetensors", place)
    for name in ODD:
        os.link(folder / "one.mp4", place / name)
    return place


def test_answers_to_any_name_come_in_every_form(hicmae, odd):
    said = hicmae("predict", ".", "--json", "--csv", "out.csv", *ASK, cwd=odd)
    assert said.returncode == 0, said.stderr
    assert {record["video"] for record in json.loads(said.stdout)} == {as_text(name) for name in ODD}
    rows = pd.read_csv(odd / "out.csv")
    clips = rows[rows["part"] == "clip"]
    assert sorted(clips["video"]) == sorted(map(as_text, ODD))
    assert (clips["status"] == "ok").all()
    assert "caf\\xe9.mp4" in set(clips["video"])


def test_a_table_of_any_names_is_printed_on_any_terminal(odd):
    said = hicmae_in(odd, "predict", ".", "--hop", "0", *ASK, PYTHONIOENCODING="ascii")
    assert said.returncode == 0, said.stderr
    assert len(said.stdout.splitlines()) == 2 + len(ODD) + 1
    assert said.stdout.isascii()
    assert "two\\nlines.mp4" in said.stdout
    assert "caf\\xe9.mp4" in said.stdout


def test_csv_of_any_names_is_printed(hicmae, odd):
    printed = hicmae("predict", ".", "--hop", "0", "--csv", "-", *ASK, cwd=odd)
    assert printed.returncode == 0, printed.stderr
    rows = list(csv.DictReader(printed.stdout.splitlines(keepends=True)))
    assert sorted(row["video"] for row in rows) == sorted(map(as_text, ODD))


def test_a_file_that_is_not_there_is_named(hicmae, odd):
    said = hicmae("predict", "nothing.mp4", ODD[0] + "x", ODD[1] + "x", "--csv", "missing.csv", *ASK, cwd=odd)
    assert said.returncode == 1
    assert said.stdout.count("no such file") == 3
    assert "Traceback" not in said.stderr
    assert set(pd.read_csv(odd / "missing.csv")["status"]) == {"missing"}


def test_features_of_any_name_are_written(hicmae, odd):
    out = "y" * 247 + ".parquet"
    said = hicmae("embed", ".", "--out", out, *ASK, cwd=odd)
    assert said.returncode == 0, said.stderr
    table = pd.read_parquet(odd / out)
    assert sorted(table["video"]) == sorted(map(as_text, ODD))
    assert table["features"].notna().all()


@pytest.mark.parametrize("name", [ODD[0], ODD[3]])
def test_a_page_of_any_name_is_written(hicmae, odd, name):
    said = hicmae("explain", name, "--out", "page.html", "--model", "model.safetensors", cwd=odd)
    assert said.returncode == 0, said.stderr
    assert "<b>&amp;.mp4" not in (odd / "page.html").read_text(encoding="utf-8")


@pytest.fixture
def many(folder, tmp_path) -> Path:
    shutil.copy(folder / "model.safetensors", tmp_path)
    for number in range(60):
        os.link(folder / "one.mp4", tmp_path / f"{number:02}.mp4")
    return tmp_path


def test_a_killed_command_leaves_the_finished_rows(many):
    command = [sys.executable, "-m", "hicmae.cli", "predict", ".", "--csv", "out.csv", *ASK]
    process = subprocess.Popen(command, cwd=many, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (many / "out.csv").exists() or (many / "out.csv").read_text().count("\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = pd.read_csv(many / "out.csv")
    assert (rows["status"] == "ok").all()
    assert 1 <= rows["video"].nunique() < 60


def test_a_full_disk_keeps_whole_rows(many):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); "
    script = limit + "import sys; from hicmae.cli.app import main; sys.argv[0] = 'hicmae'; main()"
    said = subprocess.run(
        [sys.executable, "-c", script, "predict", ".", "--csv", "out.csv", *ASK],
        cwd=many,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 1
    assert "File too large: out.csv" in said.stderr
    assert "Traceback" not in said.stderr
    rows = pd.read_csv(many / "out.csv")
    assert rows["video"].nunique() > 3
    assert (many / "out.csv").read_bytes().endswith(b"\n")


@pytest.mark.parametrize("command", [["predict", "--csv"], ["embed", "--out"], ["explain", "--out"]])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(hicmae, folder, tmp_path, command, monkeypatch):
    (tmp_path / "file").write_text("")
    for work in ("hicmae_core.inference.preprocessing.Preprocessor.preprocess", "hicmae.cli.explain.explained"):
        monkeypatch.setattr(work, lambda *_: pytest.fail("the work had begun"))
    for place in (tmp_path / "file" / "out.html", tmp_path, "/proc/nowhere.html"):
        said = hicmae(command[0], "one.mp4", "--model", "model.safetensors", command[1], place, cwd=folder)
        assert said.returncode == 1
        assert "error: " in said.stderr
        assert "Traceback" not in said.stderr


def test_an_earlier_table_is_replaced(hicmae, folder, tmp_path):
    (tmp_path / "out.csv").write_text("what was there\n" * 100)
    said = hicmae("predict", "one.mp4", "--model", "model.safetensors", "--csv", tmp_path / "out.csv", cwd=folder)
    assert said.returncode == 0, said.stderr
    assert set(pd.read_csv(tmp_path / "out.csv")["video"]) == {"one.mp4"}


def test_names_as_text():
    assert as_text(os.fsdecode(b"caf\xe9 \xff")) == "caf\\xe9 \\xff"
    assert as_text("日本\n") == "日本\n"
    assert in_a_line("a\nb\u202ec\x1b[31m 日本") == "a\\nb\\u202ec\\x1b[31m 日本"


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    for name in ("x" * 255, "視" * 85):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 2
