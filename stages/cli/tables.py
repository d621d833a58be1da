"""Answers for the eye: with colours on a terminal, in plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from hicmae_core.files import in_a_line
from hicmae_core.inference.answer import Answer
from hicmae_core.inference.video import VideoReader
from stages.cli.records import Answered, predicted


def show(answered: Sequence[Answered], reader: VideoReader) -> None:
    """Print a file's answer with its timeline; of several files a row per face, then what was not answered and why."""
    if len(answered) == 1:
        ((video, answers),) = answered
        for answer in answers:
            _show_one(video, answer, numbered=len(answers) > 1)
        _tell_calibration(answered, reader)
        return
    numbered = any(len(answers) > 1 for _, answers in answered)
    faces, best = ["face", "seconds"] if numbered else [], ["prediction"] if reader.classes else []
    header = ["video", *faces, *best, *reader.value_names]
    rows, refusals = [], []
    for video, answers in answered:
        for answer in answers:
            if not answer.values:
                refusals.append(_refusal(video, answer))
                continue
            number = [str(answer.face), _seconds(answer.start_seconds, answer.end_seconds)] if numbered else []
            said = [predicted(answer.values, reader)] if reader.classes else []
            rows.append([in_a_line(video) + _alone(answer, reader), *number, *said, *_numbers(answer.values)])
    if rows:
        print_table("", header, rows)
    for refusal in refusals:
        print(refusal)
    _tell_calibration(answered, reader)


def in_lines(answered: Answered, reader: VideoReader) -> list[str]:
    """The answer to each face of a video in a line."""
    lines = []
    for answer in answered.answers:
        if not answer.values:
            lines.append(_refusal(answered.video, answer))
            continue
        name = in_a_line(answered.video) + _alone(answer, reader)
        if len(answered.answers) > 1:
            name = f"{name}, face {answer.face}"
        seconds = _seconds(answer.start_seconds, answer.end_seconds)
        numbers = ", ".join(f"{name} {value:.2f}" for name, value in answer.values.items())
        best = predicted(answer.values, reader)
        lines.append(f"{name}, {seconds} s: {best} ({numbers})" if best else f"{name}, {seconds} s: {numbers}")
    return lines


def print_table(title: str, header: list[str], rows: list[list[str]], best: bool = True) -> None:
    """Print rows of words and numbers.

    Args:
        title: Printed above; may be empty.
        header: Names of the columns.
        rows: Their cells.
        best: Whether a row's largest probability stands out, on a terminal.
    """
    if not sys.stdout.isatty():
        print(f"{title}\n" if title else "", end="")
        print(tabulate(rows, header, disable_numparse=True))
        return
    table = Table(title=Text(title, style="bold") if title else None, title_justify="left")
    for index, name in enumerate(header):
        table.add_column(Text(name), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        numbers = [cell for cell in row[1:] if cell.startswith(("0.", "1."))]
        largest = max(numbers, default="") if best else ""
        table.add_row(*(Text(cell, style="bold green" if cell and cell == largest else "") for cell in row))
    Console().print(table)


def _tell_calibration(answered: Sequence[Answered], reader: VideoReader) -> None:
    if reader.classes and any(answer.values for _, answers in answered for answer in answers):
        print(f"probabilities: {'calibrated' if reader.calibrated else 'not calibrated'}")


def _show_one(video: Path | str, answer: Answer, numbered: bool) -> None:
    if not answer.values:
        print(_refusal(video, answer))
        return
    note = f" ({_bare(video, answer.reason)})" if answer.reason else ""
    name = f"{in_a_line(video)}, face {answer.face}" if numbered else in_a_line(video)
    whole = _seconds(answer.start_seconds, answer.end_seconds) if numbered else "whole clip"
    rows = [[whole, *_numbers(answer.values)]]
    for window in answer.windows:
        rows.append([_seconds(window["start_seconds"], window["end_seconds"]), *_numbers(window["values"])])
    print_table(name + note, ["seconds", *answer.values], rows)


def _alone(answer: Answer, reader: VideoReader) -> str:
    """Which modality answers, if a model that reads both is shown one of them."""
    if answer.used == reader.model.architecture.modality:
        return ""
    return f" ({'face' if answer.used == 'video' else 'voice'} alone)"


def _refusal(video: Path | str, answer: Answer) -> str:
    return f"{in_a_line(video)}: no answer, {answer.status}: {_bare(video, answer.reason)}"


def _bare(video: Path | str, reason: str) -> str:
    return in_a_line(reason.removeprefix(f"{video}: "))


def _seconds(start: float, end: float) -> str:
    return f"{start:.1f} - {end:.1f}"


def _numbers(values: dict[str, float]) -> list[str]:
    return [f"{value:.2f}" for value in values.values()]
