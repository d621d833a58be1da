"""How fast videos are answered end to end, against the naive way, by the clock and in CPU-seconds.

The naive way looks for a face on every frame, computes the audio's features for every window and asks about one window
at a time, in one process. Both arms use the same model (random weights) and windows, and take turns on the same clips.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import torch
import typer

from hicmae.command import run
from hicmae_core.config import HOP_SECONDS, SAMPLE_RATE_HZ, FacesParams
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.tensors import decode_frames, fbank_window
from hicmae_core.inference.video import VideoReader, open_video_reader
from hicmae_core.media.decoding import read_audio
from hicmae_core.media.faces import extract_face
from hicmae_core.media.waveform import log_mel
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier

DEMO = Path("data/raw/demo")


@torch.inference_mode()
def naive(reader: VideoReader, clip: Path) -> int:
    """Answer a video the plain way; the number of windows."""
    shape = reader.model.architecture
    track = extract_face(clip, reader.faces.model_copy(update={"stride": 1}), reader.detector)
    sound = read_audio(clip)
    windows = reader.timeline(len(track.frames), len(sound), track.fps).windows
    for window in windows:
        frames = decode_frames(pa.array(track.frames, pa.binary()), window.frames)
        audio = fbank_window(log_mel(sound), window, shape.num_audio_frames)
        reader.model(resize_only(frames[None], shape.image_size), audio[None, None])
    return len(windows)


def cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main(
    clip: Annotated[
        list[Path] | None,
        typer.Option(help="Video files.", metavar="FILE...", show_default="the first of data/raw/demo"),
    ] = None,
    num_clips: Annotated[int, typer.Option(help="How many of the demo's clips.")] = 8,
    size: Annotated[str, typer.Option(help="Size of the model.")] = "tiny",
    num_rounds: Annotated[int, typer.Option(help="Rounds.")] = 2,
    num_processes: Annotated[int, typer.Option(help="Processes that look ahead.")] = 2,
) -> None:
    """Measure and print."""
    clips = clip or sorted(DEMO.rglob("*.mp4"))[:num_clips]
    if not clips:
        raise ValueError(f"no videos under {DEMO}: run `make demo` first, or give --clip")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.safetensors"
        notes = {"classes": list("abcdef"), "targets": [], "faces": FacesParams().model_dump(mode="json")}
        save_model(path, classifier(size, 6), notes)
        reader = open_video_reader(path, None, num_segments=2, device=torch.device("cpu"))
    answers = [reader.predict(clip) for clip in clips]  # also loads the networks
    clips = [clip for clip, answer in zip(clips, answers, strict=True) if answer.values]
    if not clips:
        raise ValueError("none of the clips is answered; give others with --clip")
    seconds = sum(len(read_audio(clip)) for clip in clips) / SAMPLE_RATE_HZ
    print(
        f"{len(clips)} clips of {seconds:.1f} s in all, a window every {HOP_SECONDS:g} s, "
        f"{torch.get_num_threads()} threads"
    )
    arms = {
        "naive": lambda: [naive(reader, clip) for clip in clips],
        "ours, file by file": lambda: list(reader.predict_all(clips)),
        "ours, processes ahead": lambda: list(reader.predict_all(clips, num_processes=num_processes)),
    }
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    cpu_times: dict[str, list[float]] = {arm: [] for arm in arms}
    for _ in range(num_rounds):
        for arm, work in arms.items():
            start, cpu_start = time.perf_counter(), cpu_seconds()
            work()
            times[arm].append(time.perf_counter() - start)
            cpu_times[arm].append(cpu_seconds() - cpu_start)
    for arm, taken in times.items():
        ratios = np.array(times["naive"]) / np.array(taken)
        cpu_ratio = np.median(np.array(cpu_times["naive"]) / np.array(cpu_times[arm]))
        print(
            f"{arm}: {np.median(taken):.1f} s, {seconds / np.median(taken):.2f} times real time, "
            f"{np.median(ratios):.2f} times the naive way ({min(ratios):.2f} to {max(ratios):.2f}); "
            f"{np.median(cpu_times[arm]):.1f} CPU-seconds, {cpu_ratio:.2f} times fewer"
        )


if __name__ == "__main__":
    run(main, "python -m benchmarks.predict", __doc__)
