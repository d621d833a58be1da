"""What every command of this folder shares: arguments, errors in one sentence, no orphans."""

from __future__ import annotations

import argparse
import ctypes
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import requires

from hicmae_core.runtime import Interrupted

_PR_SET_PDEATHSIG = 1


def parser(description: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser whose help ends with `examples`."""
    return argparse.ArgumentParser(
        description=description,
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def fold_parser(description: str, stage: str) -> argparse.ArgumentParser:
    """A parser for the stages that run once per dataset and fold."""
    arguments = parser(description, f"python -m stages.{stage} --dataset demo --fold 1")
    arguments.add_argument("--dataset", required=True, help="a dataset of params.yaml")
    arguments.add_argument("--fold", required=True, type=int, help="1-based fold")
    return arguments


def dataset_parser(description: str, stage: str) -> argparse.ArgumentParser:
    """A parser for the stages that run once per dataset."""
    arguments = parser(description, f"python -m stages.{stage} --dataset demo")
    arguments.add_argument("--dataset", required=True, help="a dataset of params.yaml")
    return arguments


def run(main: Callable[[], int | None]) -> None:
    """Run a stage: a user's mistake ends in one sentence and exit code 1, not in a traceback.

    Under DVC the process asks the kernel to end with its parent, so that a killed `dvc repro` leaves no
    training behind.
    """
    if "DVC_STAGE" in os.environ:
        _die_with_parent()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: no name of a file ends the work
    try:
        sys.exit(main())
    except ModuleNotFoundError as error:
        extra = _extra_with(error.name or "")
        if extra is None:
            raise
        print(f"error: this needs `{error.name}`: pip install 'hicmae[{extra}]'", file=sys.stderr)
        sys.exit(1)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        sys.exit(1)
    except BrokenProcessPool:
        print("error: a worker process died, perhaps of too little memory; run the same command again", file=sys.stderr)
        sys.exit(1)
    except Interrupted as interruption:
        print(f"interrupted, {interruption}; run the same command again to go on", file=sys.stderr)
        sys.exit(128 + interruption.signal_number)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


def _extra_with(module: str) -> str | None:
    """The extra of this package that brings a module."""
    top = module.partition(".")[0]
    name = {"cv2": "opencv-python", "skimage": "scikit-image", "ruamel": "ruamel.yaml"}.get(top, top).replace("_", "-")
    found = (re.search(rf"^{re.escape(name)}\b.*extra == ['\"]([\w-]+)", line) for line in requires("hicmae") or ())
    return next((match[1] for match in found if match), None)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
