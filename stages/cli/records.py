"""Answers for programs: JSON records, and rows of a CSV file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

from hicmae_core.files import as_text
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
            "video": as_text(video),
            MODEL_KEY: reader.sha256,
            "face": answer.face,
            "status": answer.status,
            "reason": as_text(answer.reason),
            "start_seconds": answer.start_seconds,
            "end_seconds": answer.end_seconds,
            "used": answer.used,
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


class RecordsArray:
    """One JSON array on standard output, which grows by the records of one video at a time."""

    def __init__(self, reader: VideoReader) -> None:
        self._reader = reader
        self._is_empty = True

    def append(self, answered: Answered) -> None:
        """Print the records of a video."""
        for record in records([answered], self._reader):
            print("[" if self._is_empty else ",")
            print(indent(json.dumps(record, indent=2), "  "), end="", flush=True)
            self._is_empty = False

    def close(self) -> None:
        """Print the end."""
        print("[]" if self._is_empty else "\n]")


class AnswersTable:
    """A CSV file, or what is printed as one, which grows by the rows of one video at a time.

    A row per face and a row per window of its timeline; ``part`` is ``clip`` or ``window``. Whatever ends the program,
    the rows of the videos before are there.

    Attributes:
        videos: Those that were in it at first, as `as_text` has them.

    Args:
        to: The file, made if it is not there, or `STDOUT`.
        reader: Whose answers.
        go_on: Keep what is in the file.

    Raises:
        ValueError: If it is to go on and the file holds something else.
        OSError: If the file cannot be written.
    """

    def __init__(self, to: str | Path, reader: VideoReader, go_on: bool) -> None:
        self._path, self._reader = None if to == STDOUT else Path(to), reader
        self.videos: list[str] = []
        header = _text([_columns(reader)])
        if self._path is None:
            print(header, end="", flush=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "ab"):  # before the work, not after it
            is_file = self._path.is_file()
        if not (go_on and is_file and self._path.stat().st_size):
            if is_file:
                os.truncate(self._path, 0)
            self._write(header)
            return
        with open(self._path, "rb+") as file:  # a kill may have left half a line
            file.truncate(file.read().rfind(b"\n") + 1)
        with open(self._path, encoding="utf-8", newline="") as text:
            rows = csv.DictReader(text)
            if list(rows.fieldnames or []) != _columns(reader):
                raise ValueError(f"{self._path}: holds other columns than this model's answers; name another file")
            self.videos = [row["video"] for row in rows]

    def append(self, answered: Answered) -> None:
        """Write the rows of a video at once; on a full disk none of them."""
        columns = _columns(self._reader)
        rows = [row for answer in answered.answers for row in _rows(answered.video, answer, self._reader)]
        self._write(_text([[row.get(column, "") for column in columns] for row in rows]))

    def _write(self, text: str) -> None:
        if self._path is None:
            print(text, end="", flush=True)
            return
        before = self._path.stat().st_size
        try:
            with open(self._path, "a", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                if self._path.is_file():
                    os.fsync(file.fileno())
        except OSError as error:
            error.filename = error.filename or str(self._path)
            if self._path.is_file():
                os.truncate(self._path, before)
            raise


def _columns(reader: VideoReader) -> list[str]:
    fixed = "video", "face", "part", "start_seconds", "end_seconds", "status", "reason", "used"
    return [*fixed, MODEL_KEY, "prediction", *(["calibrated"] if reader.classes else []), *reader.value_names]


def _text(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rows(video: Path | str, answer: Answer, reader: VideoReader) -> Iterator[dict[str, Any]]:
    shared = {"video": as_text(video), "face": answer.face, "status": answer.status, "reason": as_text(answer.reason)}
    shared |= {"used": answer.used, MODEL_KEY: reader.sha256}
    whole = {"start_seconds": answer.start_seconds, "end_seconds": answer.end_seconds, "values": answer.values}
    calibrated = {"calibrated": reader.calibrated} if reader.classes and answer.values else {}
    for part, window in [("clip", whole), *(("window", window) for window in answer.windows)]:
        values = window["values"]
        times = {key: window[key] for key in ("start_seconds", "end_seconds")}
        best = predicted(values, reader) if values else ""
        yield {**shared, "part": part, **times, "prediction": best, **calibrated, **values}
