"""What a trained model says of a video that nobody has prepared."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from hicmae_core.config import SAMPLE_RATE_HZ, FacesParams
from hicmae_core.data.reading import decode_frames, fbank_window
from hicmae_core.data.sampling import ClipWindow, test_windows
from hicmae_core.evaluation.prediction import predict_windows
from hicmae_core.media.decoding import MediaError, read_audio
from hicmae_core.media.detection import Detector, make_detector
from hicmae_core.media.faces import FaceTrack, extract_face
from hicmae_core.media.fbank import log_mel
from hicmae_core.model.artifact import load_classifier
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.reference import load_reference_checkpoint

_WINDOWS_PER_PASS = 8


@dataclass(frozen=True)
class Answer:
    """The answer to one video.

    Attributes:
        status: ``ok``, ``low_coverage`` or ``low_share`` (answered); otherwise why there is no answer: ``no_face``,
            ``no_sound``, ``no_video``, ``unreadable``, ``missing``, ``zero_byte``.
        reason: A sentence where the status is not ``ok``.
        values: Probabilities over the whole clip by class (``<target> <class>`` where there are several targets), or
            outputs by target; empty without an answer.
        windows: The same for one window per second: ``start_seconds``, ``end_seconds``, ``values``.
    """

    status: str
    reason: str = ""
    values: dict[str, float] = field(default_factory=dict)
    windows: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True)
class VideoReader:
    """How raw videos become this model's inputs: as the clips it was trained on did.

    Attributes:
        model: A classifier or regressor in eval mode.
        targets: Names of its targets; none if it classifies one thing.
        classes: Names of the classes of each target; none for values.
        faces: Crop geometry and size of the training clips.
        frame_stride: Distance between the model's frames, in video frames.
        num_segments: Windows averaged for the clip's answer, as in evaluation.
        detector: Finds the faces.
    """

    model: Classifier
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    faces: FacesParams
    frame_stride: int
    num_segments: int
    detector: Detector

    def answer(self, path: Path) -> Answer:
        """Look at, listen to and judge a video; a bad file gives an answer that says so."""
        modality = self.model.architecture.modality
        track = FaceTrack("ok")
        sound = np.zeros(0, np.float32)
        try:
            if modality != "audio":
                track = extract_face(path, self.faces, self.detector)
                if not track.usable:
                    return Answer(track.status, track.reason)
            if modality != "video":
                sound = read_audio(path)
        except MediaError as error:
            return Answer(error.status, str(error))
        fps = track.fps or 25.0
        num_frames = len(track.frames) or max(1, round(len(sound) / SAMPLE_RATE_HZ * fps))
        num_samples = len(sound) or round(num_frames / fps * SAMPLE_RATE_HZ)
        length = self.model.architecture.num_frames
        clip = test_windows(num_frames, num_samples, length, self.frame_stride, self.num_segments)
        per_second = window_each_second(num_frames, num_samples, length, self.frame_stride, fps)
        outputs = self._outputs(track, sound, [*clip, *per_second])
        windows: list[dict[str, object]] = [
            {
                "start_seconds": round(window.audio_start / SAMPLE_RATE_HZ, 3),
                "end_seconds": round(window.audio_end / SAMPLE_RATE_HZ, 3),
                "values": self.named(output),
            }
            for window, output in zip(per_second, outputs[len(clip) :], strict=True)
        ]
        return Answer(track.status, track.reason, self.named(outputs[: len(clip)].mean(dim=0)), windows)

    def _outputs(self, track: FaceTrack, sound: np.ndarray, windows: list[ClipWindow]) -> Tensor:
        """The model's outputs ``[windows, num_outputs]``."""
        shape = self.model.architecture
        frames = audio = None
        if track.usable:
            jpegs = pa.array(track.frames, pa.binary())
            frames = torch.stack([decode_frames(jpegs, window.frames) for window in windows])
        if len(sound):
            features = log_mel(sound)
            audio = torch.stack([fbank_window(features, window, shape.num_audio_frames) for window in windows])[:, None]
        return predict_windows(self.model, frames, audio, _WINDOWS_PER_PASS)

    def named(self, output: Tensor) -> dict[str, float]:
        """The model's outputs ``[num_outputs]`` as probabilities by class, or values by target."""
        values = output.double()
        if not self.classes:
            return dict(zip(self.targets, values.tolist(), strict=True))
        names = [" ".join(pair) for pair in product(self.targets, self.classes)] or self.classes
        return dict(zip(names, values.view(-1, len(self.classes)).softmax(dim=1).flatten().tolist(), strict=True))


def window_each_second(num_frames: int, num_samples: int, length: int, stride: int, fps: float) -> list[ClipWindow]:
    """Windows that start at each full second and fit into the clip; a short clip is one window."""
    span = length * stride
    (first,) = test_windows(min(num_frames, span), 1, length, stride, 1)
    starts = [round(second * fps) for second in range(int((num_frames - span) / fps) + 1)] if num_frames > span else [0]
    per_frame = num_samples / num_frames
    return [
        ClipWindow(
            first.frames + start,
            round(start * per_frame),
            min(num_samples, round((start + span) * per_frame)),
        )
        for start in starts
    ]


def open_video_reader(path: Path, faces: FacesParams | None, num_segments: int, device: torch.device) -> VideoReader:
    """Open a model for raw videos.

    Args:
        path: A fine-tuned ``model.safetensors`` of this project, or a published ``.pth``, whose classes have numbers
            for names.
        faces: The detector to use; crop geometry and size too, unless the model knows those it was trained on. None is
            all as in training, or the published recipe.
        num_segments: Windows averaged for a clip's answer.
        device: Where the model runs.

    Raises:
        ValueError: If the file is not a classifier.
    """
    if path.suffix == ".pth":
        model = load_reference_checkpoint(path)
        if not isinstance(model, Classifier):
            raise ValueError(f"{path}: holds a pre-training model, but a fine-tuned one is wanted")
        classes = [f"class {index}" for index in range(model.architecture.num_outputs)]
        metadata: dict[str, Any] = {"classes": classes, "targets": []}
    else:
        model, metadata = load_classifier(path)
    trained = FacesParams(**metadata.get("faces", {}))
    if faces is None:
        faces = trained
    elif "faces" in metadata:
        faces = faces.model_copy(update={"preset": trained.preset, "size": trained.size})
    return VideoReader(
        model=model.to(device),
        targets=tuple(metadata["targets"]),
        classes=tuple(metadata["classes"]),
        faces=faces,
        frame_stride=metadata.get("frame_stride", 4),
        num_segments=num_segments,
        detector=make_detector(faces, str(device)),
    )
