"""Which windows of a video are predicted, and a model's outputs and features for many windows at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from hicmae_core.config import NUM_MEL_BINS, SAMPLE_RATE_HZ
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.sampling import ClipWindow, FrameStride, counted_frames, test_windows
from hicmae_core.data.tensors import decode_frames, fbank_window
from hicmae_core.inference.preprocessing import FaceSample
from hicmae_core.model.classifier import Classifier

WINDOWS_PER_PASS = 8
"""Windows in a forward pass; a GPU takes four times as many."""


@dataclass(frozen=True)
class Timeline:
    """The windows of a video, each once.

    Attributes:
        windows: In order of time.
        clip: Numbers of those that are averaged for the whole, with repeats in a short clip.
        line: Numbers of those that make the timeline.
    """

    windows: list[ClipWindow]
    clip: list[int]
    line: list[int]


def timeline(
    num_frames: int,
    num_samples: int,
    fps: float,
    length: int,
    stride: FrameStride,
    num_segments: int,
    hop_seconds: float,
) -> Timeline:
    """Spread windows over a video.

    The timeline's first window starts with the video and its last one ends with it; they are evenly spaced,
    `hop_seconds` apart or a little less, and start on a multiple of the stride, so that they share frames. The windows
    of the whole (as in evaluation: with two segments, the first and the last) are among them where they coincide.

    Args:
        num_frames: Video frames.
        num_samples: 16 kHz samples that go with them.
        fps: Frames per second.
        length: Frames of a window.
        stride: Distance of a window's frames, as of the clips that the model is trained on.
        num_segments: Windows of the whole.
        hop_seconds: Largest distance of the starts of two windows; 0 makes no timeline.
    """
    rate = stride.rate(fps)
    whole = test_windows(num_frames, num_samples, length, stride.frames, num_segments, rate)
    line = []
    if hop_seconds:
        later_seconds = max(counted_frames(num_frames, rate) - length * stride.frames, 0) * rate / fps
        num_windows = 1 + math.ceil(later_seconds / hop_seconds)
        line = test_windows(num_frames, num_samples, length, stride.frames, num_windows, rate)
    by_start = {_start(window): window for window in (*whole, *line)}
    number = {start: index for index, start in enumerate(sorted(by_start))}
    return Timeline(
        windows=[by_start[start] for start in number],
        clip=[number[_start(window)] for window in whole],
        line=list(dict.fromkeys(number[_start(window)] for window in line)),
    )


def _start(window: ClipWindow) -> tuple[int, int]:
    """Where a window starts; in a slow video two windows may have the first frame in common."""
    return int(window.frames[0]), window.audio_start


@dataclass(frozen=True)
class WindowOutputs:
    """What a model makes of a face's windows.

    Attributes:
        sight: The face.
        timeline: Its windows; None if there is no face to judge.
        outputs: Logits, or a regressor's outputs, ``[windows, num_outputs]``.
        features: What the head reads, ``[windows, width]``.
    """

    face_sample: FaceSample
    timeline: Timeline | None
    outputs: Tensor
    features: Tensor

    @property
    def segments(self) -> Tensor:
        """Outputs for the windows that are averaged for the whole, as in evaluation, ``[segments, num_outputs]``."""
        assert self.timeline is not None
        return self.outputs[self.timeline.clip]

    def seconds(self, index: int) -> tuple[float, float]:
        """When a window starts and ends in the video."""
        assert self.timeline is not None
        window = self.timeline.windows[index].later(self.face_sample.sound_start)
        return round(window.audio_start / SAMPLE_RATE_HZ, 3), round(window.audio_end / SAMPLE_RATE_HZ, 3)


Face = tuple[FaceSample, Timeline | None]


def judge(model: Classifier, files: Iterable[list[Face]]) -> Iterator[list[WindowOutputs]]:
    """Ask a model about files, in order; a pass takes windows of as many files as it needs to be full.

    Args:
        model: A classifier or regressor in eval mode.
        files: Per file its faces.

    Raises:
        ValueError: If an output is not finite.
    """
    size = WINDOWS_PER_PASS * (1 if next(model.parameters()).device.type == "cpu" else 4)
    waiting: list[list[Face]] = []
    num_windows = 0
    for faces in files:
        waiting.append(faces)
        num_windows += sum(len(line.windows) for _, line in faces if line is not None)
        if num_windows >= size:
            yield from _judged(model, waiting, size)
            waiting, num_windows = [], 0
    yield from _judged(model, waiting, size)


def _judged(model: Classifier, files: list[list[Face]], size: int) -> Iterator[list[WindowOutputs]]:
    asked = [(face_sample, window) for faces in files for face_sample, line in faces if line for window in line.windows]
    num_passes = -(-len(asked) // size)
    parts = [
        asked[index * len(asked) // num_passes : (index + 1) * len(asked) // num_passes] for index in range(num_passes)
    ]
    passes = [_one_pass(model, part) for part in parts]
    shape = model.architecture
    features = torch.cat([part[0] for part in passes]) if passes else torch.zeros(0, model.head.in_features)
    outputs = torch.cat([part[1] for part in passes]) if passes else torch.zeros(0, shape.num_outputs)
    start = 0
    for faces in files:
        all_window_outputs = []
        for face_sample, line in faces:
            part = slice(start, start + (len(line.windows) if line else 0))
            if not outputs[part].isfinite().all():
                raise ValueError("the model's output is not finite; see its training history")
            all_window_outputs.append(WindowOutputs(face_sample, line, outputs[part], features[part]))
            start = part.stop
        yield all_window_outputs


@torch.inference_mode()
def _one_pass(model: Classifier, asked: list[tuple[FaceSample, ClipWindow]]) -> tuple[Tensor, Tensor]:
    """Features and outputs of windows, on the CPU."""
    assert not model.training, "drop path would make predictions random"
    shape = model.architecture
    device = next(model.parameters()).device
    video = audio = None
    if shape.modality != "audio":
        video = torch.zeros(len(asked), *shape.video_shape, device=device)  # what was not seen, as in evaluation
        seen = [number for number, (face_sample, _) in enumerate(asked) if len(face_sample.track.frames)]
        if seen:
            crops = _frames([asked[number] for number in seen])
            video[seen] = resize_only(crops.to(device), shape.image_size)
    if shape.modality != "video":
        windows = [_audio_window(face_sample, window, shape.num_audio_frames) for face_sample, window in asked]
        audio = torch.stack(windows)[:, None].to(device)
    features = model.features(video, audio)
    return features.float().cpu(), model.activation(model.head(features)).float().cpu()


def _audio_window(face_sample: FaceSample, window: ClipWindow, num_frames: int) -> Tensor:
    """Normalised log-mel ``[time, mel]``; zeros for what was not listened to, as in evaluation."""
    if not len(face_sample.log_mel):
        return torch.zeros(num_frames, NUM_MEL_BINS)
    return fbank_window(face_sample.log_mel, window.later(face_sample.sound_start), num_frames)


def _frames(asked: list[tuple[FaceSample, ClipWindow]]) -> Tensor:
    """Crops ``[N, T, S, S, 3]`` uint8; each is decoded once, however many of these windows of a face show it."""
    clips: list[Tensor] = []
    start = 0
    while start < len(asked):
        face_sample = asked[start][0]
        of_face = [window for other, window in asked[start:] if other is face_sample]
        numbers, places = np.unique(np.stack([window.frames for window in of_face]), return_inverse=True)
        crops = decode_frames(
            pa.array([face_sample.track.frames[number] for number in numbers], pa.binary()), np.arange(len(numbers))
        )
        clips.append(crops[torch.from_numpy(places.reshape(len(of_face), -1))])
        start += len(of_face)
    return torch.cat(clips)
