"""What every command shares: lists of values, exit codes, one sentence; and the table printer."""

import io
import os
import signal
import subprocess
import sys
from typing import Annotated

import pytest
import typer

from hicmae.cli.output import print_table
from hicmae.command import run
from hicmae_core.runtime import Interrupted
from tests.conftest import ROOT

Words = Annotated[list[str] | None, typer.Option()]


def outcome(monkeypatch, main, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["main", *arguments])
    with pytest.raises(SystemExit) as end:
        run(main, "main --seeds 0 1")
    return end.value.code


@pytest.mark.parametrize(
    "arguments",
    [
        "show --seeds 0 1 2 --arms full scratch --dry-run",
        "--seeds 0 --seeds 1 2 --dry-run --arms full scratch -- show",
        "--arms=full --arms scratch --dry-run show --seeds 0 1 2",
    ],
)
def test_an_option_takes_several_values_or_is_repeated(monkeypatch, arguments):
    taken = []

    def main(
        action: str,
        arms: Words = None,
        seeds: Annotated[list[int] | None, typer.Option()] = None,
        dry_run: bool = False,
    ) -> None:
        taken.append((action, arms, seeds, dry_run))

    assert outcome(monkeypatch, main, *arguments.split()) == 0
    assert taken == [("show", ["full", "scratch"], [0, 1, 2], True)]


@pytest.mark.parametrize(
    ("raised", "code", "sentence"),
    [
        (ValueError("no such thing"), 1, "error: no such thing\n"),
        (FileNotFoundError(2, "No such file", "x.csv"), 1, "error: [Errno 2] No such file: 'x.csv'\n"),
        (PermissionError(13, "Permission denied", "x.csv"), 1, "error: Permission denied: x.csv\n"),
        (ModuleNotFoundError("x", name="av"), 1, "error: this needs `av`: pip install 'hicmae[media]'\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on\n"),
        (Interrupted(signal.SIGTERM, "saved"), 143, "interrupted, saved; run the same command again to go on\n"),
        (typer.Exit(3), 3, ""),
    ],
)
def test_mistakes_and_interruptions_end_in_one_sentence(monkeypatch, capsys, raised, code, sentence):
    def main() -> None:
        raise raised

    assert outcome(monkeypatch, main) == code
    assert capsys.readouterr().err == sentence


def test_what_is_no_mistake_of_the_user_keeps_its_traceback(monkeypatch):
    def main() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(sys, "argv", ["main"])
    with pytest.raises(RuntimeError, match="a bug"):
        run(main, "main")


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["corpora", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "hicmae.cli", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "hicmae.cli.app" in imported
    assert not imported & {"torch", "mlflow", "matplotlib", "cv2", "av"}


def test_a_table_is_in_plain_columns_except_on_a_terminal(monkeypatch, capsys):
    rows = [["a [bold]clip[/bold].mp4", "0.25", "0.75"], ["b.mp4", "0.50", "0.40"]]
    print_table("Answers", ["video", "sad", "glad"], rows)
    plain = capsys.readouterr().out.splitlines()
    assert plain[:2] == ["Answers", "video                    sad    glad"]
    assert plain[-1] == "b.mp4                    0.50   0.40"
    print_table("", [], [["run", "fold 1"], ["status", "FINISHED"]], best=False)
    assert capsys.readouterr().out == "run     fold 1\nstatus  FINISHED\n"

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(os, "environ", os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"})
    print_table("Answers", ["video", "sad", "glad"], rows)
    drawn = sys.stdout.getvalue()
    assert "┃" in drawn
    assert "\x1b[1;32m0.75\x1b[0m" in drawn.replace(" ", "")
    assert "a [bold]clip[/bold].mp4" in drawn
    monkeypatch.setattr(sys, "stdout", Terminal())
    print_table("", [], [["run", "fold 1"], ["status", "FINISHED"]], best=False)
    assert "fold 1" in sys.stdout.getvalue()
