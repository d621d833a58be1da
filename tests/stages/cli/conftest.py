"""Running `hicmae` as its console script does, in this process: a process of its own takes seconds to import torch."""

import subprocess
import sys

import pytest

from stages.cli.app import main


@pytest.fixture
def hicmae(monkeypatch, capfd):
    """Run the console script in a folder."""

    def run(*arguments, cwd="."):
        command = ["hicmae", *map(str, arguments)]
        with monkeypatch.context() as context:
            context.chdir(cwd)
            context.setattr(sys, "argv", command)
            context.setenv("COLUMNS", "120")
            with pytest.raises(SystemExit) as end:
                main()
        output = capfd.readouterr()
        return subprocess.CompletedProcess(command, end.value.code or 0, output.out, output.err)

    return run
