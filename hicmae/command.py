"""What every command shares: arguments from annotations, errors in one sentence, no orphans."""

from __future__ import annotations

import ctypes
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import requires
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hicmae_core.runtime import Interrupted

_PR_SET_PDEATHSIG = 1
MARKUP: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": "rich"}
DatasetOption = Annotated[str, typer.Option(metavar="NAME", help="A dataset of params.yaml.")]
FoldOption = Annotated[int, typer.Option(metavar="N", help="1-based fold.")]


class _Command(TyperCommand):
    """Takes ``--seeds 0 1 2`` as ``--seeds 0 --seeds 1 --seeds 2``, and ends in one sentence where it fails."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        several = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        spread: list[str] = []
        last = ""
        for arg in args:
            if arg.startswith("-"):
                last = arg if arg in several else ""
            elif last and spread[-1] != last:
                spread.append(last)
            spread.append(arg)
        return super().parse_args(ctx, spread)

    def invoke(self, ctx: Any) -> Any:
        with one_sentence():  # in here, as typer ends a KeyboardInterrupt without a word
            return super().invoke(ctx)


def command_of(main: Callable[..., None], examples: str, about: str | None = None) -> Any:
    """The command that a function makes.

    Args:
        main: Its annotations are the arguments (typer). It raises `typer.Exit` to end with an exit code, and a
            `ValueError` for a user's mistake.
        examples: Command lines, which the help ends with.
        about: The help; None is the docstring of `main`.
    """
    single = typer.Typer(**MARKUP)
    epilog = "\n\n".join(["Examples:", *(f"  {line}" for line in examples.strip().splitlines())])
    single.command(cls=_Command, help=about, epilog=epilog)(main)
    return typer.main.get_command(single)


def run(main: Callable[..., None], examples: str, about: str | None = None) -> None:
    """Run a function as the command of this process, as `command_of` and `supervise` describe."""
    supervise(command_of(main, examples, about))


def supervise(program: Callable[[], object]) -> None:
    """Call a program: a user's mistake ends in one sentence and exit code 1, not in a traceback.

    Under DVC the process asks the kernel to end with its parent, so that a killed `dvc repro` leaves no
    training behind.
    """
    if "DVC_STAGE" in os.environ:
        _die_with_parent()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: no name of a file ends the work
    with one_sentence():
        program()


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the process in one sentence where a user's mistake or an interruption comes."""
    try:
        yield
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
