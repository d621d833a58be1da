"""The console script `hicmae`: one module per sub-command, imported when it is asked for.

A module of a sub-command has a function `main` whose annotations are the arguments (typer) and whose docstring is the
help, and `EXAMPLES`, a line each. `main` returns nothing, or raises `typer.Exit` with an exit code; a `ValueError` is
a user's mistake and is reported in one sentence.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from hicmae.command import MARKUP, command_of, supervise


class _Entry(NamedTuple):
    """A sub-command's module, and its line in ``hicmae --help``."""

    module: str
    help: str


COMMANDS = {
    "predict": _Entry("hicmae.cli.predict", "Predict emotions in videos: per clip, per face and over time."),
    "watch": _Entry("hicmae.cli.watch", "Predict videos as they come: into a folder, or from a camera."),
    "embed": _Entry("hicmae.cli.embed", "Write a model's features of videos into a Parquet file."),
    "explain": _Entry("hicmae.cli.explain", "See why a model says of a video what it says, on one page."),
    "calibrate": _Entry("hicmae.cli.calibrate", "See whether a dataset's probabilities can be believed."),
    "map": _Entry("hicmae.cli.map", "Lay a model's features of a dataset out in the plane."),
    "serve": _Entry("hicmae.cli.serve", "Serve a local web page: drop a video or record one, and see the answer."),
    "export": _Entry(
        "hicmae.cli.export", "Hand a model on, with a card: safetensors, ONNX, torch.export, the authors'."
    ),
    "import": _Entry("hicmae.cli.import_checkpoint", "Take in a checkpoint of the authors."),
    "register": _Entry("hicmae.cli.register", "Register a study's model as the candidate of its dataset."),
    "lineage": _Entry("hicmae.cli.lineage", "See where a result comes from, or what depends on a clip."),
    "send-metrics": _Entry(
        "hicmae.cli.send_metrics", "Send to MLflow what stages logged while it could not be reached."
    ),
    "corpora": _Entry("hicmae.cli.corpora", "See what corpora to download, where from, and how to use them."),
    "doctor": _Entry("hicmae.cli.doctor", "See what works here, what does not, and the fix."),
}


class _LazyGroup(TyperGroup):
    """Lists the sub-commands without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        self.commands = {name: self.get_command(ctx, name) for name in COMMANDS}  # what a typo is compared with
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _imported(name or ""), rest


def _imported(name: str) -> Any:
    module = importlib.import_module(COMMANDS[name].module)
    return command_of(module.main, module.EXAMPLES)


app = typer.Typer(cls=_LazyGroup, no_args_is_help=True, **(MARKUP | {"add_completion": True}))


@app.callback()
def _about() -> None:
    """HiCMAE: predict emotions in videos, explain predictions, export models.

    The pipeline that trains them is run by `dvc repro`.
    """


def main() -> None:
    """The console script."""
    supervise(lambda: app(prog_name="hicmae"))
