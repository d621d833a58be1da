"""Predictions of videos as JSON records, as rows of a table, and in Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import pandas as pd

from hicmae_core.config import MODEL_KEY, SAMPLE_RATE_HZ
from hicmae_core.files import as_text

if TYPE_CHECKING:
    from hicmae_core.inference.video import Prediction, VideoReader
    from hicmae_core.inference.windows import WindowOutputs


class VideoPrediction(NamedTuple):
    """A file and the predictions for its faces."""

    video: Path | str
    predictions: list[Prediction]

    @property
    def main(self) -> Prediction:
        """The prediction for the main face, or the reason why there is none."""
        return self.predictions[0]


def predicted(values: dict[str, float], reader: VideoReader) -> str:
    """The likeliest class, of each target if there are several; empty for a regressor."""
    groups = [[f"{target} {name}" for name in reader.classes] for target in reader.targets] or [list(reader.classes)]
    return ", ".join(max(names, key=values.__getitem__) for names in groups if names)


def records(predicted_videos: Sequence[VideoPrediction], reader: VideoReader) -> list[dict[str, Any]]:
    """One record per face, or per file without one, for JSON; the values are ``probabilities`` or ``values``."""
    said = "probabilities" if reader.classes else "values"

    def by_label(values: dict[str, float]) -> dict[str, Any]:
        if not reader.classes:
            return {said: values}
        return {"prediction": predicted(values, reader), "calibrated": reader.calibrated, said: values}

    return [
        {
            "video": as_text(video),
            MODEL_KEY: reader.sha256,
            "face": prediction.face,
            "status": prediction.status,
            "reason": as_text(prediction.reason),
            "start_seconds": prediction.start_seconds,
            "end_seconds": prediction.end_seconds,
            "used": prediction.used,
            "box": list(prediction.box),
            **(by_label(prediction.values) if prediction.values else {}),
            "windows": [
                {
                    "start_seconds": window["start_seconds"],
                    "end_seconds": window["end_seconds"],
                    **by_label(window["values"]),
                }
                for window in prediction.windows
            ],
        }
        for video, predictions in predicted_videos
        for prediction in predictions
    ]


def columns_of(reader: VideoReader) -> list[str]:
    """The columns of a table of this model's predictions."""
    fixed = "video", "face", "part", "start_seconds", "end_seconds", "status", "reason", "used"
    return [*fixed, MODEL_KEY, "prediction", *(["calibrated"] if reader.classes else []), *reader.value_names]


def rows_of(video: Path | str, prediction: Prediction, reader: VideoReader) -> Iterator[dict[str, Any]]:
    """A row for the whole clip and one per window of the timeline; ``part`` is ``clip`` or ``window``."""
    shared = {
        "video": as_text(video),
        "face": prediction.face,
        "status": prediction.status,
        "reason": as_text(prediction.reason),
    }
    shared |= {"used": prediction.used, MODEL_KEY: reader.sha256}
    whole = {
        "start_seconds": prediction.start_seconds,
        "end_seconds": prediction.end_seconds,
        "values": prediction.values,
    }
    calibrated = {"calibrated": reader.calibrated} if reader.classes and prediction.values else {}
    for part, window in [("clip", whole), *(("window", window) for window in prediction.windows)]:
        values = window["values"]
        times = {key: window[key] for key in ("start_seconds", "end_seconds")}
        best = predicted(values, reader) if values else ""
        yield {**shared, "part": part, **times, "prediction": best, **calibrated, **values}


def feature_rows(
    video: Path | str, faces: Sequence[WindowOutputs], reader: VideoReader, by_window: bool
) -> Iterator[dict[str, Any]]:
    """A row per face of a video, or per window of each."""
    for number, found in enumerate(faces, 1):
        track, line = found.face_sample.track, found.timeline
        shared = {"video": as_text(video), "face": number, "status": track.status, "reason": as_text(track.reason)}
        shared |= {MODEL_KEY: reader.sha256}
        if line is None:
            yield {**shared, "start_seconds": None, "end_seconds": None, "features": None}
        elif by_window:
            for index in line.line:
                start, end = found.seconds(index)
                features = found.features[index].numpy()
                yield {**shared, "start_seconds": start, "end_seconds": end, "features": features}
        else:
            start = found.face_sample.sound_start / SAMPLE_RATE_HZ
            end = start + found.face_sample.num_samples / SAMPLE_RATE_HZ
            features = found.features[line.clip].mean(dim=0).numpy()
            yield {**shared, "start_seconds": start, "end_seconds": end, "features": features}


@dataclass(frozen=True, repr=False)
class Predictions(Sequence[VideoPrediction]):
    """What `Model.predict` returns: a prediction per video, in order.

    Attributes:
        videos: The predictions.
        reader: The model that made them.
    """

    videos: list[VideoPrediction]
    reader: VideoReader = field(repr=False)

    def __len__(self) -> int:
        return len(self.videos)

    @overload
    def __getitem__(self, index: int) -> VideoPrediction: ...

    @overload
    def __getitem__(self, index: slice) -> list[VideoPrediction]: ...

    def __getitem__(self, index: int | slice) -> VideoPrediction | list[VideoPrediction]:
        return self.videos[index]

    def __repr__(self) -> str:
        """A line per face: the label and the values, or why there are none."""
        return "\n".join(line for video in self.videos for line in _lines(video, self.reader))

    def records(self) -> list[dict[str, Any]]:
        """What `hicmae predict --json` prints."""
        return records(self.videos, self.reader)

    def to_frame(self) -> pd.DataFrame:
        """The table that `hicmae predict --csv` writes: a row per face and per window of its timeline."""
        rows = [row for video, faces in self.videos for face in faces for row in rows_of(video, face, self.reader)]
        return pd.DataFrame(rows, columns=columns_of(self.reader))


def _lines(video: VideoPrediction, reader: VideoReader) -> Iterator[str]:
    for face in video.predictions:
        if not face.values:
            yield f"{video.video}: {face.status}: {face.reason}"
            continue
        label = predicted(face.values, reader)
        numbers = ", ".join(f"{name} {value:.2f}" for name, value in face.values.items())
        yield f"{video.video}: {label} ({numbers})" if label else f"{video.video}: {numbers}"
