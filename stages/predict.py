"""Ask a trained model about any video."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tabulate import tabulate

from hicmae_core.config import load_params
from hicmae_core.devices import device_named
from hicmae_core.evaluation.video import Answer, open_video_reader
from stages import layout
from stages.command import parser, run
from stages.tracking import download_model

EXAMPLES = """
python -m stages.predict interview.mp4
python -m stages.predict clips/*.mp4 --json > answers.json
python -m stages.predict interview.mp4 --model models/finetune/demo/2/model.safetensors
python -m stages.predict interview.mp4 --run 0123456789abcdef0123456789abcdef
"""


def main() -> int:
    """Print what the model says per video and per second; 0 if any video was answered."""
    arguments = parser(
        "Ask a trained model about any video: probabilities of each target's classes, or values, per clip and second.",
        EXAMPLES,
    )
    arguments.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="video files")
    source = arguments.add_mutually_exclusive_group()
    source.add_argument("--model", type=Path, help="a fine-tuned model.safetensors, or a published .pth")
    source.add_argument("--run", help="the MLflow run of a fold")
    arguments.add_argument("--json", action="store_true", help="print one JSON array instead of tables")
    chosen = arguments.parse_args()
    params = load_params()
    path = download_model(chosen.run) if chosen.run else chosen.model or _first_model(params.evaluated, params.folds)
    reader = open_video_reader(path, params.faces, params.evaluate.num_segments, device_named(params.compute.device))
    answers = {video: reader.answer(video) for video in chosen.videos}
    if chosen.json:
        said = "probabilities" if reader.classes else "values"
        print(json.dumps([_record(video, answer, said) for video, answer in answers.items()], indent=2))
    else:
        print("\n\n".join(_table(video, answer) for video, answer in answers.items()))
    return 0 if any(answer.values for answer in answers.values()) else 1


def _first_model(evaluated: tuple[str, ...], folds: tuple[int, ...]) -> Path:
    if not evaluated or not folds:
        raise ValueError("params.yaml evaluates no dataset; name a model with --model or --run")
    path = layout.finetune_folder(evaluated[0], folds[0]) / "model.safetensors"
    if not path.is_file():
        raise ValueError(f"{path}: no model there yet; run `make demo`, or name one with --model or --run")
    print(f"model: {path}", file=sys.stderr)
    return path


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


if __name__ == "__main__":
    run(main)
