"""From a file to all that a page shows of it, as plain JSON values that `explanation.js` draws."""

from __future__ import annotations

import io
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from hicmae_core.inference.explanation import Explanation, Moment, explain
from hicmae_core.inference.video import VideoReader
from hicmae_core.media.decoding import MediaError, probe
from hicmae_core.media.waveform import log_mel

_MAX_COLUMNS = 1200
"""Of the waveform and the spectrogram; more are not seen on a screen."""
_HOP_SECONDS = 0.01


def explanation_record(reader: VideoReader, explanation: Explanation, size: tuple[int, int]) -> dict[str, Any]:
    """Everything that the page shows of a prediction but the video itself.

    Args:
        reader: The model that was asked.
        explanation: What it says.
        size: Width and height of the video, pixels; zeros if there is no image.
    """
    record: dict[str, Any] = {
        "status": explanation.status,
        "reason": explanation.reason,
        "used": explanation.used,
        "said": "probabilities" if reader.classes else "values",
        "calibrated": reader.calibrated,
        "targets": list(reader.targets),
        "classes": list(reader.classes),
        "names": list(explanation.values),
        "whole": list(explanation.values.values()),
        "duration_seconds": explanation.duration_seconds,
        "shown": {name: list(values.values()) for name, values in explanation.shown.items()} or None,
        "layer_weights": explanation.layer_weights,
        "contributions": list(explanation.contributions.values()),
        "windows": [_window(moment) for moment in explanation.moments],
        "relevance_peak": [
            {name: float(values.max() / values.mean()) for name, values in moment.relevance.items()}
            for moment in explanation.moments
        ],
        "picture": None,
        "face": None,
        "sound": None,
        "pictures": [],
    }
    if explanation.track.usable:
        track = explanation.track
        record["picture"] = dict(zip(("width", "height"), size, strict=True))
        record["face"] = {
            "fps": track.fps,
            "start_seconds": track.start_seconds,
            "boxes": track.boxes.round().astype(int).tolist(),
            "grid": list(explanation.moments[0].relevance["video"].shape),
        }
    if len(explanation.sound):
        record["sound"] = {
            "waveform": _peaks(explanation.sound),
            "log_mel_png": _base64(_spectrogram(log_mel(explanation.sound))),
            "grid": list(explanation.moments[0].relevance["audio"].shape),
            "window_seconds": reader.model.architecture.num_audio_frames * _HOP_SECONDS,
        }
    return record


def _window(moment: Moment) -> dict[str, Any]:
    relevance = {name: _bytes_of(values) for name, values in moment.relevance.items()}
    return {
        "start_seconds": round(moment.start_seconds, 3),
        "end_seconds": round(moment.end_seconds, 3),
        "values": list(moment.values.values()),
        "crops": [_base64(jpeg) for jpeg in moment.crops],
        "face_relevance": relevance.get("video"),
        "sound_relevance": relevance.get("audio"),
    }


def _bytes_of(values: NDArray[np.float32]) -> list[int]:
    """From the smallest value, 0, to the largest, 255."""
    low, high = values.min(), values.max()
    result: list[int] = ((values - low) / max(high - low, 1e-12) * 255).round().astype(int).ravel().tolist()
    return result


def _peaks(sound: NDArray[np.float32]) -> list[list[float]]:
    """Lowest and highest sample of each column of an image."""
    columns = np.array_split(sound, min(_MAX_COLUMNS, len(sound)))
    return [[round(float(part.min()), 3), round(float(part.max()), 3)] for part in columns]


def _spectrogram(features: NDArray[np.float32]) -> bytes:
    """Log-mel ``[time, mel]`` as a PNG, low tones below; of a long audio, means of neighbouring frames."""
    columns = np.array_split(features, min(_MAX_COLUMNS, len(features))) if len(features) else [np.zeros((1, 128))]
    image = np.stack([part.mean(axis=0) for part in columns]).T[::-1]
    low, high = np.percentile(image, [5, 99.5])
    shade = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    pixels = (colormaps["Greys"](shade)[..., :3] * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def explained(reader: VideoReader, path: Path, max_seconds: float) -> dict[str, Any]:
    """`explanation_record` of a file; of a bad one, its status and the reason.

    Args:
        reader: The model that is asked.
        path: A video, or audio if the model only listens.
        max_seconds: Longer files are refused.
    """
    try:
        info = probe(path)
    except MediaError as error:
        return {"status": error.status, "reason": str(error), "whole": []}
    return explanation_record(reader, explain(reader, path, max_seconds), (info.width, info.height))
