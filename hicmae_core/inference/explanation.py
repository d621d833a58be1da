"""Why a model says of a video what it says: over time, by modality, by layer, by patch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from hicmae_core.config import SAMPLE_RATE_HZ, Modality
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.sampling import ClipWindow
from hicmae_core.data.tensors import decode_frames, fbank_window
from hicmae_core.evaluation.prediction import predict_windows
from hicmae_core.inference.attention import Trace, contributions, level_weights, rollout, trace
from hicmae_core.inference.preprocessing import FaceSample
from hicmae_core.inference.video import VideoReader
from hicmae_core.media.decoding import read_audio
from hicmae_core.media.faces import FaceTrack

_WINDOWS_PER_PASS = 2


@dataclass(frozen=True)
class Moment:
    """What the model predicts for one window, and its attention.

    Attributes:
        start_seconds: Where the window begins.
        end_seconds: Where it ends.
        values: Probabilities or outputs, by name.
        crops: The face at each of the model's time steps, JPEG; none if it reads no video.
        relevance: Attention rollout (`attention.rollout`) by modality, ``[time steps, rows, columns]`` of the face and
            ``[time, mel]`` patches of the audio.
    """

    start_seconds: float
    end_seconds: float
    values: dict[str, float]
    crops: list[bytes]
    relevance: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Explanation:
    """All there is to see of one prediction; of a video without one, the status and the reason alone.

    Attributes:
        status: As of `Prediction`.
        reason: A sentence where the status is not ``ok``.
        used: As of `Prediction`.
        duration_seconds: Length of what was judged.
        track: The face; unusable if the model reads no video.
        audio: 16 kHz samples; empty if the model does not listen.
        values: Probabilities or outputs of the whole clip, by name.
        shown: The same where the model of both modalities is shown ``both``, ``video`` or ``audio`` alone.
        moments: The windows of the timeline, a second apart or a little less.
        layer_weights: How the blocks of each encoder are weighed, by modality.
        contributions: By output and part of the head's input, the term of each block (`attention.contributions`),
            its mean over the windows that are averaged for the whole clip; of classes, over the mean of the target's
            classes. These are terms of logits: of one window they add up to the logarithm of the probabilities, but for
            a constant; of several, whose probabilities are averaged after the softmax, to the mean logits.
    """

    status: str
    reason: str = ""
    used: Modality | Literal[""] = ""
    duration_seconds: float = 0.0
    track: FaceTrack = field(default_factory=lambda: FaceTrack("ok"))
    sound: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)
    values: dict[str, float] = field(default_factory=dict)
    shown: dict[str, dict[str, float]] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    layer_weights: dict[str, list[float]] = field(default_factory=dict)
    contributions: dict[str, dict[str, list[float]]] = field(default_factory=dict)


def explain(reader: VideoReader, path: Path, max_seconds: float) -> Explanation:
    """Judge a video as `VideoReader.predict` does, with the attention in the open; a bad file is said to be one.

    Args:
        reader: The model.
        path: The video, or an audio file if the model only listens.
        max_seconds: Longer files are refused.
    """
    model = reader.model
    (face_sample,) = replace(reader.preprocessor(), max_seconds=max_seconds).preprocess(path)
    track = face_sample.track
    if not face_sample.usable:
        return Explanation(track.status, track.reason)
    sound = read_audio(path, max_seconds) if len(face_sample.log_mel) else np.zeros(0, np.float32)
    num_frames, num_samples, fps = face_sample.num_frames, face_sample.num_samples, face_sample.fps
    line = reader.timeline(num_frames, num_samples, fps)
    clip = [line.windows[index] for index in line.clip]
    inputs = _Inputs(reader, face_sample)
    traced = list(inputs.traces(clip))
    return Explanation(
        status=track.status,
        reason=reader.caveats(face_sample),
        used=reader.used(face_sample),
        duration_seconds=num_samples / SAMPLE_RATE_HZ,
        track=track,
        sound=sound,
        values=reader.named(torch.cat([t.outputs for t in traced])),
        shown=_leaving_one_out(reader, inputs, clip) if reader.used(face_sample) == "both" else {},
        moments=_moments(reader, inputs, [line.windows[index] for index in line.line]),
        layer_weights={name: level_weights(model, name).tolist() for name in traced[0].self_attention},
        contributions=_terms(reader, traced),
    )


class _Inputs:
    """Windows of one video as the model's inputs."""

    def __init__(self, reader: VideoReader, face_sample: FaceSample) -> None:
        self._model = reader.model
        self.used = reader.used(face_sample)
        self.jpegs = pa.array(face_sample.track.frames, pa.binary())
        self._features = face_sample.log_mel if len(face_sample.log_mel) else None

    def frames(self, windows: list[ClipWindow]) -> Tensor | None:
        """Face crops ``[W, T, S, S, 3]``."""
        return torch.stack([decode_frames(self.jpegs, w.frames) for w in windows]) if len(self.jpegs) else None

    def audio(self, windows: list[ClipWindow]) -> Tensor | None:
        """Log-mel windows ``[W, 1, time, mel]``."""
        if self._features is None:
            return None
        length = self._model.architecture.num_audio_frames
        return torch.stack([fbank_window(self._features, window, length) for window in windows])[:, None]

    def traces(self, windows: list[ClipWindow]) -> Iterator[Trace]:
        """The model run on a few windows at a time."""
        device = next(self._model.parameters()).device
        for start in range(0, len(windows), _WINDOWS_PER_PASS):
            some = windows[start : start + _WINDOWS_PER_PASS]
            frames, audio = self.frames(some), self.audio(some)
            video = None if frames is None else resize_only(frames.to(device), self._model.architecture.image_size)
            yield trace(self._model, video, None if audio is None else audio.to(device))


def _moments(reader: VideoReader, inputs: _Inputs, windows: list[ClipWindow]) -> list[Moment]:
    moments: list[Moment] = []
    tubelet = reader.model.architecture.video_patch[0]
    for traced in inputs.traces(windows):
        relevance = rollout(reader.model, traced)
        for index, output in enumerate(traced.outputs):
            window = windows[len(moments)]
            moments.append(
                Moment(
                    start_seconds=window.audio_start / SAMPLE_RATE_HZ,
                    end_seconds=window.audio_end / SAMPLE_RATE_HZ,
                    values=reader.named(output[None]),
                    crops=[inputs.jpegs[int(k)].as_py() for k in window.frames[::tubelet] if len(inputs.jpegs)],
                    relevance={
                        name: values[index].float().cpu().numpy()
                        for name, values in relevance.items()
                        if inputs.used in ("both", name)
                    },
                )
            )
    return moments


def _leaving_one_out(reader: VideoReader, inputs: _Inputs, clip: list[ClipWindow]) -> dict[str, dict[str, float]]:
    frames, audio = inputs.frames(clip), inputs.audio(clip)
    shown = {"both": (frames, audio), "video": (frames, None), "audio": (None, audio)}
    return {
        name: reader.named(predict_windows(reader.model, *given, _WINDOWS_PER_PASS)) for name, given in shown.items()
    }


def _terms(reader: VideoReader, traced: list[Trace]) -> dict[str, dict[str, list[float]]]:
    """Mean terms over the clip's windows, by output and part."""
    by_trace = [contributions(reader.model, t) for t in traced]
    terms = {part: torch.cat([t[part] for t in by_trace]).mean(dim=0).double() for part in by_trace[0]}  # [L, outputs]
    if reader.classes:
        by_target = {part: term.unflatten(1, (-1, len(reader.classes))) for part, term in terms.items()}
        terms = {part: (term - term.mean(dim=2, keepdim=True)).flatten(1) for part, term in by_target.items()}
    return {
        name: {part: term[:, index].tolist() for part, term in terms.items()}
        for index, name in enumerate(reader.value_names)
    }
