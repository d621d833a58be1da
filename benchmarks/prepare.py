"""How fast faces and audio are prepared, against the plain way; how it scales to two processes; what memory it takes.

The plain way detects on every frame; ours on every fourth, and between only where the face moved. Both arms see the
same clips in turns, in one process and one thread, so that their ratio holds on a busy machine, too. Rates are medians
of several rounds, per CPU-second; those of the processes are by the clock and mean something on a quiet machine only.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import cv2
import numpy as np
import pandas as pd
import torch
import typer

from benchmarks.films import as_360p, peak_memory_mib
from hicmae.command import run
from hicmae_core.config import SAMPLE_RATE_HZ, FacesParams, PreparationParams
from hicmae_core.media.decoding import MediaError, read_audio
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import FaceTrack, extract_face
from hicmae_core.media.waveform import log_mel
from hicmae_core.preparation.pool import ClipFailure, ClipFiles, ClipWork, in_processes
from hicmae_core.preparation.preparing import prepare_faces
from tests.media.films import write_full_hd

DEMO = Path("data/raw/demo")
FACES = FacesParams()
PLAIN = FACES.model_copy(update={"stride": 1})
Result = TypeVar("Result")


def timed(work: Callable[..., Result], *arguments: Any) -> tuple[Result, float]:
    """A call's result and the CPU-seconds it took."""
    start = time.process_time()
    result = work(*arguments)
    return result, time.process_time() - start


def centre_error(ours: FaceTrack, plain: FaceTrack) -> np.ndarray:
    """Distance of the face's centres per frame, as a fraction of the face's side."""
    centres = [(track.boxes[:, :2] + track.boxes[:, 2:]) / 2 for track in (ours, plain)]
    return np.linalg.norm(centres[0] - centres[1], axis=1) / (plain.boxes[:, 2] - plain.boxes[:, 0])


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, least and greatest."""
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def measure_faces(clips: list[Path], num_rounds: int) -> str:
    """Frames per CPU-second, decoding to JPEG, both ways."""
    detector = CenterFace(FACES.detect_size, FACES.min_score)
    clips = [clip for clip in clips if extract_face(clip, FACES, detector).usable]  # also loads the networks
    if not clips:
        raise ValueError("none of the clips shows a face; give others with --clip")
    rates, ratios = [], []
    for _ in range(num_rounds):
        seconds, num_frames, errors = np.zeros(2), 0, []
        for clip in clips:
            ours, ours_seconds = timed(extract_face, clip, FACES, detector)
            plain, plain_seconds = timed(extract_face, clip, PLAIN, detector)
            seconds += (ours_seconds, plain_seconds)
            num_frames += len(ours.frames)
            errors.append(centre_error(ours, plain))
        rates.append(num_frames / seconds)
        ratios.append(seconds[1] / seconds[0])
    ours_rates, plain_rates = np.array(rates).T
    error = np.percentile(np.concatenate(errors), 95)
    return (
        f"faces: {spread(ours_rates)} frames per CPU-second, plain {spread(plain_rates)}: ratio {spread(ratios, 2)}; "
        f"{num_frames} frames of {len(clips)} clips, centres differ by {error:.3f} of the side at p95"
    )


def measure_audio(clips: list[Path], num_rounds: int) -> str:
    """Seconds of audio per CPU-second: decoding, then log-mel."""
    rates = []
    for _ in range(num_rounds):
        sound_seconds, seconds = 0.0, np.zeros(2)
        for clip in clips:
            try:
                waveform, decoding = timed(read_audio, clip)
            except MediaError:
                continue
            _, features = timed(log_mel, waveform)
            sound_seconds += len(waveform) / SAMPLE_RATE_HZ
            seconds += (decoding, features)
        if not sound_seconds:
            return "audio: none of the clips has audio"
        rates.append(sound_seconds / np.array([seconds.sum(), *seconds]))
    total, decoding_rates, feature_rates = np.array(rates).T
    return (
        f"audio: {spread(total)} times real time "
        f"(decoding {np.median(decoding_rates):.0f}, log-mel {np.median(feature_rates):.0f})"
    )


def measure_memory(folder: Path, seconds: float) -> str:
    """How far this process's memory rises over a long video, and what the video would take decoded."""
    film = write_full_hd(folder / "film.mp4", seconds)
    before = peak_memory_mib()
    track = extract_face(film, FACES, CenterFace(FACES.detect_size, FACES.min_score))
    rise = peak_memory_mib() - before
    decoded = len(track.frames) * 1920 * 1080 * 3 / 2**20
    return (
        f"memory: {before:.0f} MiB at its peak before, {rise:.0f} more for {seconds:g} s of 1920 x 1080 "
        f"({decoded:.0f} MiB of decoded images)"
    )


def measure_scaling(clips: list[Path], folder: Path, num_rounds: int, num_copies: int) -> str:
    """Clips per second of the whole preparation in one process and in two, once the processes have started."""
    names = [f"c{index:04d}" for index in range(len(clips) * num_copies)]
    paths = [str(clip.absolute()) for clip in clips] * num_copies
    manifest = pd.DataFrame({"clip_id": names, "video_path": paths, "audio_path": None, "sha256": None, "status": "ok"})
    rates: dict[int, list[float]] = {1: [], 2: []}
    for round_index in range(num_rounds):
        for num_processes, so_far in rates.items():
            out = folder / f"{round_index}-{num_processes}"
            times: list[float] = []
            arguments = (manifest, Path("/"), out / "out", out / "cache", FACES, "single", PreparationParams())
            prepare_faces(*arguments, run=noting_times(num_processes, times))
            so_far.append((len(times) - num_processes) / (times[-1] - times[num_processes - 1]))
    one, two = (np.array(rates[num_processes]) for num_processes in (1, 2))
    return (
        f"processes: {spread(one, 2)} clips per second in one, {spread(two, 2)} in two: "
        f"{spread(list(two / one / 2 * 100))} % of linear"
    )


def noting_times(num_processes: int, times: list[float]) -> Callable[..., Iterator[bytes | ClipFailure]]:
    """The usual runner, which also notes when each clip was done."""

    def run(work: ClipWork, clips: Sequence[ClipFiles]) -> Iterator[bytes | ClipFailure]:
        for result in in_processes(num_processes)(work, clips):
            times.append(time.perf_counter())
            yield result

    return run


def main(
    clip: Annotated[
        list[Path] | None,
        typer.Option(help="Video files.", metavar="FILE...", show_default="the first of data/raw/demo"),
    ] = None,
    num_clips: Annotated[int, typer.Option(help="How many of the demo's clips.")] = 8,
    num_rounds: Annotated[int, typer.Option(help="Rounds whose median counts.")] = 3,
    num_copies: Annotated[int, typer.Option(help="Times that each clip is prepared for the scaling.")] = 4,
    film_seconds: Annotated[float, typer.Option(help="Length of the video for the memory.")] = 20,
    fitted: Annotated[
        bool, typer.Option("--as-360p", help="Look at the clips at 25 fps, fitted into 640 x 360.")
    ] = False,
) -> None:
    """Measure and print."""
    clips = clip or sorted(DEMO.rglob("*.mp4"))[:num_clips]
    if not clips:
        raise ValueError(f"no videos under {DEMO}: run `make demo` first, or give --clip")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    log_mel(np.zeros(SAMPLE_RATE_HZ, np.float32))
    print(f"{len(clips)} clips, {num_rounds} rounds: median (least to greatest)", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(measure_audio(clips, num_rounds), flush=True)
        if fitted:
            clips = [as_360p(clip, folder / clip.name) for clip in clips]
        print(measure_faces(clips, num_rounds), flush=True)
        print(measure_memory(folder, film_seconds), flush=True)
        print(measure_scaling(clips, folder, num_rounds, num_copies), flush=True)


if __name__ == "__main__":
    run(main, "python -m benchmarks.prepare", __doc__)
