"""The console script: fast help, typos, one-sentence errors."""

import os
import subprocess
import sys

import pytest

from hicmae.cli.app import COMMANDS
from tests.conftest import ROOT


def test_the_help_lists_every_command(hicmae):
    result = hicmae("--help")
    assert result.returncode == 0, result.stderr
    for name, entry in COMMANDS.items():
        assert name in result.stdout
        assert entry.help.split()[0] in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(hicmae, name):
    result = hicmae(name, "--help")
    assert result.returncode == 0, result.stderr
    assert f"hicmae {name}" in result.stdout.split("Examples:")[1]


def test_a_typo_is_named_and_no_command_is_run(hicmae):
    result = hicmae("predit", "film.mp4")
    assert result.returncode == 2
    assert "predict" in result.stderr


def test_completion_offers_the_commands():
    shell = {"_HICMAE_COMPLETE": "complete_bash", "COMP_WORDS": "hicmae ", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "hicmae.cli"]
    result = subprocess.run(command, cwd=ROOT, env=os.environ | shell, capture_output=True, text=True, timeout=60)
    assert set(result.stdout.split()) >= set(COMMANDS)
