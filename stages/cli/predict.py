"""`hicmae predict`: ask a trained model about any videos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from tabulate import tabulate

from hicmae_core.inference.video import Answer
from stages.cli.opening import MODEL_HELP, open_reader

EXAMPLES = """
hicmae predict interview.mp4
hicmae predict clips/*.mp4 --json > answers.json
hicmae predict interview.mp4 --model models/finetune/demo/2/model.safetensors
hicmae predict interview.mp4 --model 0123456789abcdef0123456789abcdef
"""


def main(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files.", show_default=False)],
    model: Annotated[str | None, typer.Option(help=MODEL_HELP, show_default="the project's first fold")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array instead of tables.")] = False,
) -> None:
    """Ask a trained model about any video: probabilities of each target's classes, or values, per clip and second.

    The exit code is 0 if any video was answered, 1 if none was, 2 if the arguments are wrong.
    """
    reader = open_reader(model)
    answers = {video: reader.answer(video) for video in videos}
    if as_json:
        said = "probabilities" if reader.classes else "values"
        print(json.dumps([_record(video, answer, said) for video, answer in answers.items()], indent=2))
    else:
        print("\n\n".join(_table(video, answer) for video, answer in answers.items()))
    if not any(answer.values for answer in answers.values()):
        raise typer.Exit(1)


def _record(video: Path, answer: Answer, said: str) -> dict[str, object]:
    """An answer for JSON, in which the model's values are called `said`."""
    answered = {said: answer.values} if answer.values else {}
    windows = [{(said if key == "values" else key): value for key, value in w.items()} for w in answer.windows]
    return {"video": str(video), "status": answer.status, "reason": answer.reason, **answered, "windows": windows}


def _table(video: Path, answer: Answer) -> str:
    if not answer.values:
        return f"{video}: no answer, {answer.status}: {answer.reason}"
    rows = [{"seconds": "whole clip", **answer.values}]
    rows += [{"seconds": f"{w['start_seconds']:.1f} - {w['end_seconds']:.1f}", **w["values"]} for w in answer.windows]
    note = f" ({answer.reason})" if answer.reason else ""
    return f"{video}{note}\n" + tabulate(rows, headers="keys", floatfmt=".2f")
