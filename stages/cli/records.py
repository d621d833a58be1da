"""Answers for programs: JSON records, and rows of a CSV file."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from hicmae_core.files import atomic_path
from hicmae_core.inference.video import Answer, VideoReader

STDOUT = "-"


class Answered(NamedTuple):
    """A file and the answers to its faces."""

    video: Path
    answers: list[Answer]


def predicted(values: dict[str, float], reader: VideoReader) -> str:
    """The likeliest class, of each target if there are several; empty for a regressor."""
    groups = [[f"{target} {name}" for name in reader.classes] for target in reader.targets] or [list(reader.classes)]
    return ", ".join(max(names, key=values.__getitem__) for names in groups if names)


def records(answered: Sequence[Answered], reader: VideoReader) -> list[dict[str, Any]]:
    """One record per face, or per file without one, for JSON; the values are ``probabilities`` or ``values``."""
    said = "probabilities" if reader.classes else "values"

    def told(values: dict[str, float]) -> dict[str, Any]:
        return {"prediction": predicted(values, reader), said: values} if reader.classes else {said: values}

    return [
        {
            "video": str(video),
            "face": answer.face,
            "status": answer.status,
            "reason": answer.reason,
            "start_seconds": answer.start_seconds,
            "end_seconds": answer.end_seconds,
            "box": list(answer.box),
            **(told(answer.values) if answer.values else {}),
            "windows": [
                {
                    "start_seconds": window["start_seconds"],
                    "end_seconds": window["end_seconds"],
                    **told(window["values"]),
                }
                for window in answer.windows
            ],
        }
        for video, answers in answered
        for answer in answers
    ]


def write_csv(answered: Sequence[Answered], reader: VideoReader, to: str) -> None:
    """Write a row per face and a row per window of its timeline; ``part`` is ``clip`` or ``window``.

    Args:
        answered: The answers.
        reader: Whose.
        to: A file, which appears whole or not at all, or `STDOUT`.
    """
    if to == STDOUT:
        _write_rows(answered, reader, sys.stdout)
        return
    with atomic_path(Path(to)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        _write_rows(answered, reader, file)


def value_names(answered: Sequence[Answered]) -> list[str]:
    """What the values are called; none if no file was answered."""
    return next((list(answer.values) for _, answers in answered for answer in answers if answer.values), [])


def _write_rows(answered: Sequence[Answered], reader: VideoReader, file: TextIO) -> None:
    columns = ["video", "face", "part", "start_seconds", "end_seconds", "status", "reason", "prediction"]
    writer = csv.DictWriter(file, [*columns, *value_names(answered)], restval="", lineterminator="\n")
    writer.writeheader()
    for video, answers in answered:
        for answer in answers:
            writer.writerows(_rows(video, answer, reader))


def _rows(video: Path, answer: Answer, reader: VideoReader) -> Iterator[dict[str, Any]]:
    shared = {"video": video, "face": answer.face, "status": answer.status, "reason": answer.reason}
    whole = {"start_seconds": answer.start_seconds, "end_seconds": answer.end_seconds, "values": answer.values}
    for part, window in [("clip", whole), *(("window", window) for window in answer.windows)]:
        values = window["values"]
        times = {key: window[key] for key in ("start_seconds", "end_seconds")}
        yield {**shared, "part": part, **times, "prediction": predicted(values, reader) if values else "", **values}
