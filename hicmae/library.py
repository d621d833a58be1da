"""`hicmae.load`: a trained model in one line of Python, which predicts as the command `hicmae predict` does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hicmae.models import found_model, num_processes_for, params_here
from hicmae.predictions import Predictions, VideoPrediction, feature_rows
from hicmae_core.config import HOP_SECONDS, SAMPLE_RATE_HZ, FacePolicy
from hicmae_core.inference.explanation import Explanation, explain
from hicmae_core.inference.video import VideoReader, open_video_reader
from hicmae_core.media.decoding import MAX_SECONDS
from hicmae_core.model.classifier import Classifier
from hicmae_core.runtime import device_named


@dataclass(frozen=True)
class Clip:
    """A clip in memory; one of `frames` and `waveform` at least.

    Attributes:
        frames: RGB uint8 ``[T, H, W, 3]``.
        fps: Frames per second.
        waveform: Mono float ``[samples]`` in -1..1.
        rate: Samples per second of `waveform`.
        name: What the prediction calls it.
    """

    frames: NDArray[np.uint8] | None = None
    fps: float = 25.0
    waveform: NDArray[np.floating] | None = None
    rate: int = SAMPLE_RATE_HZ
    name: str = "clip"

    def write(self, path: Path) -> None:
        """Write it without loss, so that it is read as any file is.

        Raises:
            ValueError: If there is neither, or a shape or type is another one.
        """
        if self.frames is None and self.waveform is None:
            raise ValueError(f"{self.name}: neither frames nor a waveform")
        if self.frames is not None and (
            self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[3] != 3
        ):
            raise ValueError(f"{self.name}: frames are {self.frames.dtype} {self.frames.shape}, not uint8 [T, H, W, 3]")
        if self.waveform is not None and self.waveform.ndim != 1:
            raise ValueError(f"{self.name}: the waveform has the shape {self.waveform.shape}, not [samples]")
        with av.open(path, "w", format="matroska") as file:
            if self.frames is not None:
                video = file.add_stream("ffv1", rate=Fraction(self.fps).limit_denominator(1001))
                video.height, video.width = self.frames.shape[1:3]
                video.pix_fmt = "bgr0"
            if self.waveform is not None:
                audio = file.add_stream("pcm_f32le", rate=self.rate, layout="mono")
            if self.frames is not None:
                for pixels in self.frames:
                    file.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
                file.mux(video.encode())
            if self.waveform is not None:
                samples = np.ascontiguousarray(self.waveform, np.float32)[None]
                frame = av.AudioFrame.from_ndarray(samples, "flt", "mono")
                frame.sample_rate = self.rate
                file.mux(audio.encode(frame))
                file.mux(audio.encode())


Video = str | PathLike[str] | Clip


class Model:
    """A trained model for videos.

    Attributes:
        reader: How videos become its inputs, and outputs become predictions.
    """

    def __init__(self, reader: VideoReader) -> None:
        self.reader = reader

    @property
    def module(self) -> Classifier:
        """The network in eval mode, a `torch.nn.Module`."""
        return self.reader.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; none of a regressor."""
        return self.reader.classes

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets; none if one thing is classified."""
        return self.reader.targets

    def predict(
        self,
        videos: Video | Sequence[Video],
        *,
        hop_seconds: float = HOP_SECONDS,
        all_speakers: bool = False,
        num_processes: int | None = None,
    ) -> Predictions:
        """Predict videos, each from its main face and its audio. A bad file has a status and a reason, and no values.

        Args:
            videos: A path, a `Clip`, or several of them.
            hop_seconds: Largest distance of the windows of the timeline; 0 makes none.
            all_speakers: Predict each face that is seen for 2 s or more.
            num_processes: Processes that decode and detect ahead of the model; None is one per core, and none for a
                single video.
        """
        with _files(videos) as (names, paths):
            policy: FacePolicy = "all" if all_speakers else "single"
            found = self.reader.predict_all(paths, hop_seconds, policy, num_processes_for(paths, num_processes))
            return Predictions([VideoPrediction(*pair) for pair in zip(names, found, strict=True)], self.reader)

    def embed(
        self,
        videos: Video | Sequence[Video],
        *,
        hop_seconds: float = 0.0,
        all_speakers: bool = False,
        num_processes: int | None = None,
    ) -> pd.DataFrame:
        """Features of videos, the vector that the head reads: the table of `hicmae embed`.

        Args:
            videos: As of `predict`.
            hop_seconds: Largest distance of windows, a row each; 0 is a row per face.
            all_speakers: As of `predict`.
            num_processes: As of `predict`.

        Returns:
            ``video``, ``face``, ``status``, ``reason``, ``model_sha256``, ``start_seconds``, ``end_seconds`` and
            ``features`` (float32; None without a face).
        """
        with _files(videos) as (names, paths):
            policy: FacePolicy = "all" if all_speakers else "single"
            processes = num_processes_for(paths, num_processes)
            found = self.reader.all_window_outputs(paths, hop_seconds, policy, processes)
            rows = [
                row
                for name, faces in zip(names, found, strict=True)
                for row in feature_rows(name, faces, self.reader, by_window=hop_seconds > 0)
            ]
        return pd.DataFrame(rows)

    def explain(self, video: Video, *, max_seconds: float = MAX_SECONDS) -> Explanation:
        """Why the model predicts what it does: attention, layers and modalities; `hicmae explain` draws it.

        Args:
            video: A path or a `Clip`.
            max_seconds: Longer videos are refused.
        """
        with _files(video) as (_, (path,)):
            return explain(self.reader, path, max_seconds)


def load(name: str | PathLike[str], *, device: str = "auto", needs_both: bool = False) -> Model:
    """Load a trained model.

    In a project's folder its ``params.yaml`` says which detector is used and how many windows are averaged, as for the
    command.

    Args:
        name: A ``model.safetensors`` or its folder, a published checkpoint, an MLflow run id, or
            ``models:/NAME@ALIAS``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        needs_both: Refuse a video without a face, or without audio, if the model reads both.

    Raises:
        ValueError: If there is no such model, or no such device.
    """
    params = params_here()
    segments = params.evaluate.num_segments if params else 2
    path = found_model(str(name))
    reader = open_video_reader(path, params.faces if params else None, segments, device_named(device))
    return Model(replace(reader, needs_both=needs_both))


@contextmanager
def _files(videos: Video | Sequence[Video]) -> Iterator[tuple[list[Path | str], list[Path]]]:
    """Names and files of videos; clips in memory are in files for the time of the block."""
    several = [videos] if isinstance(videos, str | PathLike | Clip) else list(videos)
    with tempfile.TemporaryDirectory(prefix="hicmae-") as folder:
        names: list[Path | str] = []
        paths = []
        for number, video in enumerate(several):
            if isinstance(video, Clip):
                paths.append(Path(folder) / f"{number}.mkv")
                video.write(paths[-1])
                names.append(video.name)
            else:
                paths.append(Path(video))
                names.append(Path(video))
        yield names, paths
