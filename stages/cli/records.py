"""Answers for programs: JSON records, and rows of a CSV file."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from hicmae_core.files import atomic_path
from hicmae_core.inference.answer import MODEL_KEY, Answer
from hicmae_core.inference.video import VideoReader

STDOUT = "-"


class Answered(NamedTuple):
    """A file and the answers to its faces."""

    video: Path | str
    answers: list[Answer]


def predicted(values: dict[str, float], reader: VideoReader) -> str:
    """The likeliest class, of each target if there are several; empty for a regressor."""
    groups = [[f"{target} {name}" for name in reader.classes] for target in reader.targets] or [list(reader.classes)]
    return ", ".join(max(names, key=values.__getitem__) for names in groups if names)


def records(answered: Sequence[Answered], reader: VideoReader) -> list[dict[str, Any]]:
    """One record per face, or per file without one, for JSON; the values are ``probabilities`` or ``values``."""
    said = "probabilities" if reader.classes else "values"

    def told(values: dict[str, float]) -> dict[str, Any]:
        if not reader.classes:
            return {said: values}
        return {"prediction": predicted(values, reader), "calibrated": reader.calibrated, said: values}

    return [
        {
            "video": str(video),
            MODEL_KEY: reader.sha256,
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


class AnswersTable:
    """A CSV file as `write_csv` writes it, which grows by the rows of one video at a time.

    Attributes:
        videos: Those that were in it at first.

    Args:
        path: The file; made if it is not there.
        reader: Whose answers.

    Raises:
        ValueError: If it is there and holds something else.
    """

    def __init__(self, path: Path, reader: VideoReader) -> None:
        self._path, self._reader = path, reader
        self.videos: list[Path] = []
        if not path.exists() or not path.stat().st_size:
            write_csv([], reader, str(path))
            return
        with open(path, "rb+") as file:  # a kill may have left half a line
            file.truncate(file.read().rfind(b"\n") + 1)
        with open(path, encoding="utf-8", newline="") as text:
            rows = csv.DictReader(text)
            if list(rows.fieldnames or []) != _columns(reader):
                raise ValueError(f"{path}: holds other columns than this model's answers; name another file")
            self.videos = [Path(row["video"]) for row in rows]

    def append(self, answered: Answered) -> None:
        """Write the rows of a video at once."""
        rows = io.StringIO()
        _write_rows([answered], self._reader, rows, header=False)
        with open(self._path, "a", encoding="utf-8", newline="") as file:
            file.write(rows.getvalue())
            file.flush()
            os.fsync(file.fileno())


def _columns(reader: VideoReader) -> list[str]:
    fixed = ("video", "face", "part", "start_seconds", "end_seconds", "status", "reason", MODEL_KEY, "prediction")
    return [*fixed, *(["calibrated"] if reader.classes else []), *reader.value_names]


def _write_rows(answered: Sequence[Answered], reader: VideoReader, file: TextIO, header: bool = True) -> None:
    writer = csv.DictWriter(file, _columns(reader), restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    for video, answers in answered:
        for answer in answers:
            writer.writerows(_rows(video, answer, reader))


def _rows(video: Path | str, answer: Answer, reader: VideoReader) -> Iterator[dict[str, Any]]:
    shared = {"video": video, "face": answer.face, "status": answer.status, "reason": answer.reason}
    shared[MODEL_KEY] = reader.sha256
    whole = {"start_seconds": answer.start_seconds, "end_seconds": answer.end_seconds, "values": answer.values}
    calibrated = {"calibrated": reader.calibrated} if reader.classes and answer.values else {}
    for part, window in [("clip", whole), *(("window", window) for window in answer.windows)]:
        values = window["values"]
        times = {key: window[key] for key in ("start_seconds", "end_seconds")}
        best = predicted(values, reader) if values else ""
        yield {**shared, "part": part, **times, "prediction": best, **calibrated, **values}
