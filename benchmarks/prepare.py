"""How fast faces and sound are prepared, against the plain way, in one process and one thread.

The plain way detects on every frame; ours on every fourth, and between only where the face moved. Both see the same
clips, in turns, so the ratio holds on a busy machine, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from hicmae_core.config import SAMPLE_RATE_HZ, FacesParams
from hicmae_core.media.decoding import MediaError, read_audio
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import FaceTrack, extract_face
from hicmae_core.media.fbank import log_mel

DEMO = Path("data/raw/demo")
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


def measure_faces(clips: list[Path]) -> str:
    """Frames per CPU-second, decoding to JPEG, both ways."""
    faces = FacesParams()
    plainly = faces.model_copy(update={"stride": 1})
    detector = CenterFace(faces.detect_size, faces.min_score)
    num_frames, seconds, errors = 0, np.zeros(2), []
    for clip in clips:
        if not extract_face(clip, faces, detector).usable:  # also loads the network for this shape of picture
            continue
        ours, ours_seconds = timed(extract_face, clip, faces, detector)
        plain, plain_seconds = timed(extract_face, clip, plainly, detector)
        num_frames += len(ours.frames)
        seconds += (ours_seconds, plain_seconds)
        errors.append(centre_error(ours, plain))
    if not num_frames:
        raise ValueError("none of the clips shows a face; give others with --clip")
    ours_rate, plain_rate = num_frames / seconds
    return (
        f"faces: {ours_rate:.0f} frames per CPU-second, plain {plain_rate:.0f}: ratio {ours_rate / plain_rate:.2f} "
        f"({num_frames} frames; centres differ by {np.percentile(np.concatenate(errors), 95):.3f} of the side at p95)"
    )


def measure_audio(clips: list[Path]) -> str:
    """Seconds of sound per CPU-second: decoding, then log-mel."""
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
        return "audio: none of the clips has sound"
    total, decoding, features = sound_seconds / np.array([seconds.sum(), *seconds])
    return f"audio: {total:.0f} times real time (decoding {decoding:.0f}, log-mel {features:.0f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, nargs="+", help=f"video files (default: the first of {DEMO})")
    parser.add_argument("--num-clips", type=int, default=8, help="how many of the demo's clips (default: 8)")
    arguments = parser.parse_args()
    clips = arguments.clip or sorted(DEMO.rglob("*.mp4"))[: arguments.num_clips]
    if not clips:
        parser.error(f"no videos under {DEMO}: run `make demo` first, or give --clip")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    log_mel(np.zeros(SAMPLE_RATE_HZ, np.float32))
    print(f"{len(clips)} clips, one thread")
    print(measure_faces(clips))
    print(measure_audio(clips))


if __name__ == "__main__":
    main()
