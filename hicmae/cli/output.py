"""Predictions for programs, as JSON records and CSV rows, and for people, as tables."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from hicmae.predictions import VideoPrediction, columns_of, predicted, records, rows_of
from hicmae_core.files import in_a_line

if TYPE_CHECKING:
    from hicmae_core.inference.video import Prediction, VideoReader

STDOUT = "-"


class RecordsArray:
    """One JSON array on standard output, which grows by the records of one video at a time."""

    def __init__(self, reader: VideoReader) -> None:
        self._reader = reader
        self._is_empty = True

    def append(self, predicted_video: VideoPrediction) -> None:
        """Print the records of a video."""
        for record in records([predicted_video], self._reader):
            print("[" if self._is_empty else ",")
            print(indent(json.dumps(record, indent=2), "  "), end="", flush=True)
            self._is_empty = False

    def close(self) -> None:
        """Print the end."""
        print("[]" if self._is_empty else "\n]")


class PredictionsTable:
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
        header = _text([columns_of(reader)])
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
            if list(rows.fieldnames or []) != columns_of(reader):
                raise ValueError(f"{self._path}: holds other columns than this model's predictions; name another file")
            self.videos = [row["video"] for row in rows]

    def append(self, predicted_video: VideoPrediction) -> None:
        """Write the rows of a video at once; on a full disk none of them."""
        columns = columns_of(self._reader)
        rows = [
            row
            for prediction in predicted_video.predictions
            for row in rows_of(predicted_video.video, prediction, self._reader)
        ]
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


def _text(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def show(predicted_videos: Sequence[VideoPrediction], reader: VideoReader) -> None:
    """Print a file's prediction with its timeline; of several files a row per face, then the failures and why."""
    if len(predicted_videos) == 1:
        ((video, predictions),) = predicted_videos
        for prediction in predictions:
            _show_one(video, prediction, numbered=len(predictions) > 1)
        _report_calibration(predicted_videos, reader)
        return
    numbered = any(len(predictions) > 1 for _, predictions in predicted_videos)
    faces, best = ["face", "seconds"] if numbered else [], ["prediction"] if reader.classes else []
    header = ["video", *faces, *best, *reader.value_names]
    rows, refusals = [], []
    for video, predictions in predicted_videos:
        for prediction in predictions:
            if not prediction.values:
                refusals.append(_refusal(video, prediction))
                continue
            number = (
                [str(prediction.face), _seconds(prediction.start_seconds, prediction.end_seconds)] if numbered else []
            )
            label = [predicted(prediction.values, reader)] if reader.classes else []
            rows.append([in_a_line(video) + _alone(prediction, reader), *number, *label, *_numbers(prediction.values)])
    if rows:
        print_table("", header, rows)
    for refusal in refusals:
        print(refusal)
    _report_calibration(predicted_videos, reader)


def in_lines(predicted_video: VideoPrediction, reader: VideoReader) -> list[str]:
    """The predictions for each face of a video in a line."""
    lines = []
    for prediction in predicted_video.predictions:
        if not prediction.values:
            lines.append(_refusal(predicted_video.video, prediction))
            continue
        name = in_a_line(predicted_video.video) + _alone(prediction, reader)
        if len(predicted_video.predictions) > 1:
            name = f"{name}, face {prediction.face}"
        seconds = _seconds(prediction.start_seconds, prediction.end_seconds)
        numbers = ", ".join(f"{name} {value:.2f}" for name, value in prediction.values.items())
        best = predicted(prediction.values, reader)
        lines.append(f"{name}, {seconds} s: {best} ({numbers})" if best else f"{name}, {seconds} s: {numbers}")
    return lines


def print_table(title: str, header: list[str], rows: list[list[str]], best: bool = True) -> None:
    """Print rows of words and numbers.

    Args:
        title: Printed above; may be empty.
        header: Names of the columns; may be empty.
        rows: Their cells.
        best: Whether all cells but the first are numbers, of which a row's largest probability stands out on a
            terminal; other cells are aligned on the left there.
    """
    if not sys.stdout.isatty():
        print(f"{title}\n" if title else "", end="")
        print(tabulate(rows, header, tablefmt="simple" if header else "plain", disable_numparse=True))
        return
    table = Table(title=Text(title, style="bold") if title else None, title_justify="left", show_header=bool(header))
    for index, name in enumerate(header or [""] * len(rows[0])):
        table.add_column(Text(name), justify="right" if best and index else "left", overflow="fold")
    for row in rows:
        numbers = [cell for cell in row[1:] if cell.startswith(("0.", "1."))]
        largest = max(numbers, default="") if best else ""
        table.add_row(*(Text(cell, style="bold green" if cell and cell == largest else "") for cell in row))
    Console().print(table)


def _report_calibration(predicted_videos: Sequence[VideoPrediction], reader: VideoReader) -> None:
    if reader.classes and any(prediction.values for _, predictions in predicted_videos for prediction in predictions):
        print(f"probabilities: {'calibrated' if reader.calibrated else 'not calibrated'}")


def _show_one(video: Path | str, prediction: Prediction, numbered: bool) -> None:
    if not prediction.values:
        print(_refusal(video, prediction))
        return
    note = f" ({_bare(video, prediction.reason)})" if prediction.reason else ""
    name = f"{in_a_line(video)}, face {prediction.face}" if numbered else in_a_line(video)
    whole = _seconds(prediction.start_seconds, prediction.end_seconds) if numbered else "whole clip"
    rows = [[whole, *_numbers(prediction.values)]]
    for window in prediction.windows:
        rows.append([_seconds(window["start_seconds"], window["end_seconds"]), *_numbers(window["values"])])
    print_table(name + note, ["seconds", *prediction.values], rows)


def _alone(prediction: Prediction, reader: VideoReader) -> str:
    """Which modality the prediction is from, if a model that reads both is shown one of them."""
    if prediction.used == reader.model.architecture.modality:
        return ""
    return f" ({'face' if prediction.used == 'video' else 'voice'} alone)"


def _refusal(video: Path | str, prediction: Prediction) -> str:
    return f"{in_a_line(video)}: no prediction, {prediction.status}: {_bare(video, prediction.reason)}"


def _bare(video: Path | str, reason: str) -> str:
    return in_a_line(reason.removeprefix(f"{video}: "))


def _seconds(start: float, end: float) -> str:
    return f"{start:.1f} - {end:.1f}"


def _numbers(values: dict[str, float]) -> list[str]:
    return [f"{value:.2f}" for value in values.values()]
