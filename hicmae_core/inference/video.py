"""Predictions for raw videos: from files and a trained model to probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hicmae_core.config import HOP_SECONDS, SAMPLE_RATE_HZ, FacePolicy, FacesParams, Modality
from hicmae_core.data.sampling import FrameStride
from hicmae_core.files import sha256_of
from hicmae_core.inference.preprocessing import FaceSample, Preprocessor, detector_for, preprocess_all
from hicmae_core.inference.windows import Timeline, WindowOutputs, judge, timeline
from hicmae_core.media.detection import Detector
from hicmae_core.model.artifact import load_classifier
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.probabilities import average_segments, level_for


@dataclass(frozen=True)
class VideoReader:
    """How raw videos become this model's inputs: as the clips it was trained on did.

    Attributes:
        model: A classifier or regressor in eval mode.
        targets: Names of its targets; none if it classifies one thing.
        classes: Names of the classes of each target; none for values.
        faces: Detector, crop geometry and size of the training clips.
        stride: Distance between the model's frames.
        num_segments: Windows averaged for the clip's prediction, as in evaluation.
        temperatures: Of each target, fitted on speakers that were held out from training; none if there were none.
        least_sure: How probable the likeliest class of a whole clip must be for a prediction; 0 predicts always.
        needs_both: Whether a file without audio, or without a face, is refused by a model that reads both; else it is
            predicted from what is there.
        metadata: What else the model's file says of it.
        sha256: Of the model's file.
    """

    model: Classifier
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    faces: FacesParams
    stride: FrameStride
    num_segments: int
    temperatures: tuple[float, ...] = ()
    least_sure: float = 0.0
    needs_both: bool = False
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)
    sha256: str = ""

    def predict(self, path: Path, hop_seconds: float = HOP_SECONDS) -> Prediction:
        """Predict a video's main face; a bad file gives a prediction whose status names the reason."""
        ((prediction,),) = self.predict_all([path], hop_seconds)
        return prediction

    def predict_all(
        self,
        paths: Sequence[Path],
        hop_seconds: float = HOP_SECONDS,
        policy: FacePolicy = "single",
        num_processes: int = 0,
    ) -> Iterator[list[Prediction]]:
        """The predictions for files, in order, a prediction per face.

        Args:
            paths: Video files, or audio files for a model that reads no video.
            hop_seconds: Largest distance of the windows of the timeline; 0 makes none.
            policy: ``single`` is the main face, ``all`` every face that is seen for 2 s.
            num_processes: Processes that decode and look for faces ahead of the model; 0 does it here.
        """
        return self.predictions_of_samples(preprocess_all(paths, self.preprocessor(policy), num_processes), hop_seconds)

    def predictions_of_samples(
        self, face_samples: Iterable[list[FaceSample]], hop_seconds: float
    ) -> Iterator[list[Prediction]]:
        """As `predict_all`, for samples that are preprocessed already."""
        for all_window_outputs in self.judge(face_samples, hop_seconds):
            yield [
                self._prediction(window_outputs, number) for number, window_outputs in enumerate(all_window_outputs, 1)
            ]

    def all_window_outputs(
        self, paths: Sequence[Path], hop_seconds: float, policy: FacePolicy = "single", num_processes: int = 0
    ) -> Iterator[list[WindowOutputs]]:
        """As `predict_all`, with the model's outputs and features per window.

        A file without one of the modalities that the model reads is refused: its features would lie elsewhere.
        """
        preprocessor = replace(self.preprocessor(policy), needs_both=True)
        return self.judge(preprocess_all(paths, preprocessor, num_processes), hop_seconds)

    def judge(self, face_samples: Iterable[list[FaceSample]], hop_seconds: float) -> Iterator[list[WindowOutputs]]:
        """As `all_window_outputs`, for samples that are preprocessed already."""
        faces = (
            [(face_sample, self._windows(face_sample, hop_seconds)) for face_sample in of_file]
            for of_file in face_samples
        )
        return judge(self.model, faces)

    def preprocessor(self, policy: FacePolicy = "single", silent: bool = False) -> Preprocessor:
        """How files are preprocessed for this model; it can be sent to another process.

        Args:
            policy: As of `predict_all`.
            silent: Whether they have no audio; zeros take its place in a model that also listens.

        Raises:
            ValueError: If each face, or a silent video, is to be predicted by a model that reads no video.
        """
        modality = self.model.architecture.modality
        if silent and modality == "audio":
            raise ValueError("the model reads audio alone, and there is none; ask one that was trained on video")
        if policy == "all" and modality == "audio":
            raise ValueError("the model reads audio alone and sees no faces; ask it without the choice of all faces")
        shown = "video" if silent else modality
        return Preprocessor(self.faces, shown, self.needs_both, policy, str(self.device), self.stride.usual_fps)

    def abstaining(self, risk: float) -> VideoReader:
        """The reader that leaves out predictions that are not sure enough.

        Args:
            risk: Share of wrong predictions that is borne, in 0..1, measured on the speakers held out from training.

        Raises:
            ValueError: If the model is no classifier of one thing, held no speakers out, or keeps to `risk` never.
        """
        if not self.classes or self.targets:
            raise ValueError("only a model of one target's classes can abstain; this one has other outputs")
        if not self.metadata.get("abstention_levels"):
            raise ValueError(
                "no speakers were held out from this model's training, so nobody knows how often it is wrong; "
                "fine-tune with finetune.selection: validation"
            )
        level = level_for(self.metadata["abstention_levels"], risk)
        if level == float("inf"):
            raise ValueError(f"however sure, more than {risk:.0%} of its predictions for held-out speakers were wrong")
        return replace(self, least_sure=level)

    @property
    def calibrated(self) -> bool:
        """Whether probabilities are scaled by temperatures."""
        return bool(self.temperatures)

    @property
    def value_names(self) -> tuple[str, ...]:
        """What the values of a prediction are called, in order: classes, ``<target> <class>``, or targets."""
        if not self.classes:
            return self.targets
        return tuple(" ".join(pair) for pair in product(self.targets, self.classes)) or self.classes

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def window_seconds(self) -> float:
        """How long a window lasts."""
        return self.model.architecture.num_frames * self.stride.frames / self.stride.usual_fps

    @property
    def detector(self) -> Detector:
        """What finds the faces."""
        return detector_for(self.faces, str(self.device))

    def timeline(self, num_frames: int, num_samples: int, fps: float, hop_seconds: float = HOP_SECONDS) -> Timeline:
        """The windows that the model is asked about; arguments as of `hicmae_core.inference.windows.timeline`."""
        length = self.model.architecture.num_frames
        return timeline(num_frames, num_samples, fps, length, self.stride, self.num_segments, hop_seconds)

    def named(self, outputs: Tensor) -> dict[str, float]:
        """Outputs for windows ``[windows, num_outputs]``, averaged, as probabilities by class, or values by target."""
        values = average_segments(outputs.double(), len(self.classes))
        if self.classes:
            logits = values.view(-1, len(self.classes))
            if self.calibrated:
                logits = logits / torch.tensor(self.temperatures, dtype=torch.float64)[:, None]
            values = logits.softmax(dim=1).flatten()
        return dict(zip(self.value_names, values.tolist(), strict=True))

    def used(self, face_sample: FaceSample) -> Modality:
        """The modalities that the model's prediction comes from."""
        reads = self.model.architecture.modality
        return face_sample.used if reads == "both" else reads

    def caveats(self, face_sample: FaceSample) -> str:
        """What is to be said of a face: flaws, and what the model was not trained for."""
        used, notes = self.used(face_sample), [face_sample.track.reason]
        if self.metadata.get("face_source") == "drawn" and used != "audio":
            notes.append("the model was trained on drawn faces")
        if used != self.model.architecture.modality and not self.metadata.get("recipe", {}).get("modality_dropout"):
            notes.append("the model was not trained to predict from one modality (finetune.modality_dropout)")
        return "; ".join(filter(None, notes))

    def _windows(self, face_sample: FaceSample, hop_seconds: float) -> Timeline | None:
        return (
            self.timeline(face_sample.num_frames, face_sample.num_samples, face_sample.fps, hop_seconds)
            if face_sample.usable
            else None
        )

    def _prediction(self, window_outputs: WindowOutputs, number: int) -> Prediction:
        face_sample, track = window_outputs.face_sample, window_outputs.face_sample.track
        if window_outputs.timeline is None:
            return Prediction(track.status, track.reason, face=number)
        seconds = [window_outputs.seconds(index) for index in window_outputs.timeline.line]
        windows: list[dict[str, Any]] = [
            {"start_seconds": start, "end_seconds": end, "values": self.named(window_outputs.outputs[[index]])}
            for index, (start, end) in zip(window_outputs.timeline.line, seconds, strict=True)
        ]
        box = np.median(track.boxes, axis=0).astype(float).round(1).tolist() if len(track.boxes) else ()
        start = face_sample.sound_start / SAMPLE_RATE_HZ
        values = self.named(window_outputs.segments)
        if self.least_sure and max(values.values()) < self.least_sure:
            reason = f"the likeliest class has a probability of {max(values.values()):.2f}, below {self.least_sure:.2f}"
            return Prediction("unsure", reason, face=number)
        return Prediction(
            status=track.status,
            reason=self.caveats(face_sample),
            values=values,
            windows=windows,
            face=number,
            start_seconds=round(start, 3),
            end_seconds=round(start + face_sample.num_samples / SAMPLE_RATE_HZ, 3),
            used=self.used(face_sample),
            box=tuple(box),
        )


def open_video_reader(path: Path, faces: FacesParams | None, num_segments: int, device: torch.device) -> VideoReader:
    """Open a model for raw videos.

    Args:
        path: A fine-tuned model of this project, or a published checkpoint, whose classes have numbers for names.
        faces: The detector to use; crop geometry and size too, unless the model knows those it was trained on. None is
            all as in training, or the published recipe; so is all for a model whose videos show a face alone.
        num_segments: Windows averaged for a clip's prediction.
        device: Where the model runs.

    Raises:
        ValueError: If the file is not a classifier, or the face detector's weights or package are missing.
    """
    model, metadata = load_classifier(path)
    trained = FacesParams(**metadata.get("faces", {}))
    if faces is None or metadata.get("face_source", "found") != "found":
        faces = trained
    elif "faces" in metadata:
        faces = faces.model_copy(update={"preset": trained.preset, "size": trained.size})
    if model.architecture.modality != "audio":
        detector_for(faces, str(device))
    return VideoReader(
        model=model.to(device),
        targets=tuple(metadata["targets"]),
        classes=tuple(metadata["classes"]),
        faces=faces,
        stride=FrameStride.of_model(metadata),
        num_segments=num_segments,
        temperatures=tuple(metadata.get("temperatures", ())),
        metadata=metadata,
        sha256=sha256_of(path),
    )


@dataclass(frozen=True)
class Prediction:
    """The prediction for one video, or for one face of it.

    Attributes:
        status: ``ok``, ``damaged``, ``low_coverage``, ``frozen_face`` or ``low_share`` (predicted); otherwise why not:
            ``unsure`` (see `VideoReader.abstaining`), ``no_face``, ``short_face``, ``no_sound``, ``no_video``,
            ``unreadable``, ``too_long``, ``missing``, ``zero_byte``, ``crashed``.
        reason: A sentence where the status is not ``ok``, or where a modality that the model reads is missing.
        values: Probabilities over the whole clip by class (``<target> <class>`` where there are several targets), or
            outputs by target; empty without a prediction.
        windows: The same for each window of the timeline: ``start_seconds``, ``end_seconds``, ``values``.
        face: Number of the face in its video, from 1.
        start_seconds: When the face appears; 0 unless each face is predicted by itself.
        end_seconds: When it ends.
        used: ``both``, ``video`` or ``audio``: what the prediction comes from; empty without one.
        box: Median left, top, right and bottom of the face's square, pixels; empty if the model reads no video.
    """

    status: str
    reason: str = ""
    values: dict[str, float] = field(default_factory=dict)
    windows: list[dict[str, Any]] = field(default_factory=list)
    face: int = 1
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    used: Modality | Literal[""] = ""
    box: tuple[float, ...] = ()
