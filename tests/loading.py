"""MLflow models asked in a process of their own, as a loaded model's code takes the place of this project's."""

import io
import subprocess
import sys
from pathlib import Path

import pandas as pd

ASK = """
import io, sys, mlflow, pandas as pd
if sys.argv[2]:
    mlflow.set_tracking_uri(sys.argv[2])
answered = mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.read_json(io.StringIO(sys.stdin.read()), dtype=False))
print(answered.to_json(double_precision=15))
"""


def ask(model: str | Path, table: pd.DataFrame, cwd: Path, tracking_uri: str = "") -> pd.DataFrame:
    """What a model answers to a table.

    Args:
        model: A folder, or a reference such as ``models:/hicmae-demo@champion``.
        table: Its columns are those of the model's signature.
        cwd: Where the process runs: not in this project.
        tracking_uri: Where the reference is known.
    Raises:
        AssertionError: The model refused; the message has what it wrote.
    """
    command = [sys.executable, "-c", ASK, str(model), tracking_uri]
    asked = subprocess.run(command, cwd=cwd, input=table.to_json(), capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    return pd.read_json(io.StringIO(asked.stdout.splitlines()[-1]), dtype=False)
