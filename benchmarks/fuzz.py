"""Thousands of damaged and hostile media files against the reading of clips.

Each mutant is read in a process of its own, so that a crash or a hang is counted, not suffered. What is accepted must
show the images and audio of its own video: each image and each stretch of audio carries its video's number. The run
fails if an exception other than a `MediaError` escapes, a process dies or hangs, or a wrong video is read. A case
depends on the seed and its number alone: ``--only`` repeats one.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from hicmae import command
from hicmae_core.config import FacesParams
from hicmae_core.media.decoding import MediaError, probe, read_audio, read_decoded_frames, read_frames
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_faces
from hicmae_core.media.packets import Damage
from hicmae_core.preparation.pool import ClipFailure, in_processes
from hicmae_core.progress import progress_bar
from tests.media.coded_films import CONTAINERS, NUM_FRAMES, read_chord, read_code, write_sources
from tests.media.impostors import NOT_MEDIA, playlist
from tests.media.mutants import MIXED, MUTATIONS, REORDERED

KINDS = ("another extension", *MUTATIONS, "playlist")
ACCEPTED = ("same", "part", "damaged")
FAILURES = ("wrong", "escaped", "crashed", "timeout")

_MAX_SECONDS = 60.0
_TIMEOUT_SECONDS = 120.0
_MEMORY_BYTES = 8 << 30
_NOISE = 8.0
_FACES = FacesParams(detect_size=128, stride=5, size=32)


@dataclass(frozen=True)
class Case:
    """One mutant: its number, the seed, and the two videos it is made of."""

    number: int
    seed: int
    film: Path
    other: Path

    @property
    def kind(self) -> str:
        """The mutation."""
        return KINDS[self.number // len(CONTAINERS) % len(KINDS)]

    @property
    def source(self) -> int:
        """Number of the container; its videos are ``2 source`` and ``2 source + 1``."""
        return self.number % len(CONTAINERS)

    def write(self, folder: Path) -> Path:
        """Write the mutant; one in four takes the extension of another format."""
        rng = np.random.default_rng([self.seed, self.number])
        suffix = self.film.suffix
        if self.kind == "another extension" or rng.random() < 0.25:
            suffix = str(rng.choice([".mp4", ".avi", ".txt", ".png", ".m3u8", ".sdp", ".mp3", ""]))
        film, other = self.film.read_bytes(), self.other.read_bytes()
        if self.kind == "playlist":
            film = playlist(self.other, rng)
        elif self.kind in MUTATIONS:
            film = MUTATIONS[self.kind](film, other, rng)
        path = folder / f"mutant{suffix}"
        path.write_bytes(film)
        return path


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: an accepted one's likeness to its video, a `MediaError` status, or a failure."""

    result: str
    reason: str = ""
    peak_bytes: int = 0


def examine(case: Case) -> Outcome:
    """Read a mutant in every way the stages do."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    try:
        with tempfile.TemporaryDirectory() as folder:
            result, reason = _judged(case, case.write(Path(folder)))
    except Exception:
        result, reason = "escaped", traceback.format_exc()
    return Outcome(result, reason, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def run(cases: Sequence[Case], num_processes: int) -> Iterator[Outcome]:
    """Outcomes in the order of the cases."""
    for result in in_processes(num_processes, _TIMEOUT_SECONDS)(examine, cases):
        yield Outcome(result.status, result.reason) if isinstance(result, ClipFailure) else result


def make_cases(folder: Path, numbers: Sequence[int], seed: int) -> list[Case]:
    """Write the videos into a folder and list the mutants to be made of them."""
    films = write_sources(folder)
    return [Case(number, seed, *films[number % len(films)]) for number in numbers]


def table(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> str:
    """Counts per mutation and outcome, as Markdown."""
    counts = Counter((case.kind, outcome.result) for case, outcome in zip(cases, outcomes, strict=True))
    statuses = sorted({result for _, result in counts} - {*ACCEPTED, *FAILURES})
    columns = (*ACCEPTED, *statuses, *FAILURES)
    rows = pd.DataFrame(
        [[sum(counts[kind, column] for column in columns), *(counts[kind, c] for c in columns)] for kind in KINDS],
        index=pd.Index(KINDS),
        columns=["cases", *columns],
    )
    rows.loc["all"] = rows.sum()
    lines = [["mutation", *rows.columns], ["---", *("---:" for _ in rows.columns)]]
    lines += [
        [str(kind), *(str(count) for count in row)] for kind, row in zip(rows.index, rows.to_numpy(), strict=True)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class _QuickDetector(CenterFace):
    """CenterFace without the second, larger look."""

    def careful(self) -> CenterFace:
        return self


@cache
def _detector() -> CenterFace:
    return _QuickDetector(_FACES.detect_size, _FACES.min_score)


@cache
def _true_frames(film: Path) -> dict[int, np.ndarray]:
    """The undamaged video's images, by their numbers."""
    codes = ((read_code(frame), frame) for _, frame in read_frames(film))
    return {code[1]: frame for code, frame in codes if code is not None}


def _judged(case: Case, path: Path) -> tuple[str, str]:
    """Result and reason of a mutant."""
    picture, picture_reason = _looked(case, path)
    sound, sound_reason = _heard(case, path)
    if picture in ACCEPTED and _digest(path) != _digest(path):
        return "wrong", "the images are others when they are read again"
    header, header_reason = "ok", ""
    try:
        probe(path)
    except MediaError as error:
        header, header_reason = error.status, error.reason
    face = extract_faces(path, _FACES, "single", _detector(), _MAX_SECONDS)[0]
    if (face.usable and picture not in ACCEPTED) or (face.status != "ok") != bool(face.reason):
        return "wrong", f"face {face.status} ({face.reason}), but images {picture} ({picture_reason})"
    for result, reason in ((picture, picture_reason), (sound, sound_reason), (header, header_reason)):
        if result not in ACCEPTED and result != "ok" and not reason:
            return "wrong", f"{result} without a reason"
    if case.kind in NOT_MEDIA and {picture, sound} & {*ACCEPTED}:
        return "wrong", f"{case.kind} is taken for media: images {picture}, audio {sound}"
    if "wrong" in (picture, sound):
        return "wrong", picture_reason if picture == "wrong" else sound_reason
    return (picture, picture_reason) if CONTAINERS[case.source].video else (sound, sound_reason)


def _looked(case: Case, path: Path) -> tuple[str, str]:
    """What became of the images."""
    codes, differs, damage = [], False, Damage("video")
    try:
        for _, picture in read_decoded_frames(path, damage=damage):
            frame = picture.rgb()
            codes.append(read_code(frame))
            code = codes[-1]
            if code is not None and code[0] == 2 * case.source:
                true = _true_frames(case.film).get(code[1], np.zeros_like(frame))
                differs |= float(np.abs(frame.astype(float) - true).mean()) > _NOISE
    except MediaError as error:
        return error.status, error.reason
    films = {code[0] for code in codes if code is not None}
    numbers = [code[1] for code in codes if code is not None]
    if not films <= _allowed(case):
        return "wrong", f"the images of video {case.source * 2} show {films}"
    # Behind a refused packet a frame may be predicted from an older one and show it: the clip is flagged for that.
    if case.kind not in REORDERED and not damage.reason and numbers != sorted(numbers):
        return "wrong", f"the images come in the order {numbers}"
    if None in codes or differs:
        return "damaged", ""
    return ("same", "") if set(numbers) == set(range(NUM_FRAMES)) and len(films) == 1 else ("part", "")


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    for _, frame in read_frames(path):
        digest.update(frame)
    return digest.digest()


def _heard(case: Case, path: Path) -> tuple[str, str]:
    """What became of the audio."""
    try:
        sound = read_audio(path, _MAX_SECONDS)
    except MediaError as error:
        return error.status, error.reason
    film = read_chord(sound)
    if film is None:
        return "damaged", ""
    if film not in _allowed(case):
        return "wrong", f"the audio of video {case.source * 2} is that of video {film}"
    return ("same", "") if abs(len(sound) - len(read_audio(case.film))) < 400 else ("part", "")


def _allowed(case: Case) -> set[int]:
    return {2 * case.source, 2 * case.source + 1} if case.kind in MIXED else {2 * case.source}


def main(
    num_cases: Annotated[int, typer.Option(help="Mutants.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of all of them.")] = 0,
    num_processes: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    only: Annotated[int | None, typer.Option(help="Run only the mutant of this number.")] = None,
) -> None:
    """Run, print the table, and fail if anything went wrong."""
    numbers = range(num_cases) if only is None else [only]
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder), numbers, seed)
        outcomes = list(progress_bar(run(cases, num_processes), total=len(cases), desc="mutants", unit="file"))
    print(table(cases, outcomes))
    print(f"peak memory of a process: {max(outcome.peak_bytes for outcome in outcomes) / 2**20:.0f} MiB")
    failed = [(case, outcome) for case, outcome in zip(cases, outcomes, strict=True) if outcome.result in FAILURES]
    for case, outcome in failed:
        print(f"\nmutant {case.number}, {case.kind}, {case.film.suffix}: {outcome.result}\n{outcome.reason}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    command.run(main, "python -m benchmarks.fuzz --num-cases 5280", __doc__)
