"""What MLflow loads from a registered model: a table of videos goes in, a table of predictions comes out.

Nothing is unpickled: weights come from a ``.safetensors`` file and code from this module, of which the registered model
carries a copy, together with ``hicmae_core``. MLflow finds `_load_pyfunc` by its name.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hicmae_core.inference.video import Prediction, VideoReader, open_video_reader
from hicmae_core.runtime import device_named

VIDEO_COLUMN = "video"
BYTES_COLUMN = "video_base64"
INPUT_COLUMNS = (VIDEO_COLUMN, BYTES_COLUMN)
TEXT_COLUMNS = ("video", "status", "reason", "used", "label")


class ServedModel:
    """Predictions tables of videos.

    Args:
        reader: Predictions one video.
    """

    def __init__(self, reader: VideoReader) -> None:
        self._reader = reader

    def predict(self, videos: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Answer each row; a bad video gets a row that says why.

        Args:
            videos: A row per video: its path in ``video``, or its bytes in ``video_base64``, where ``video`` is a name
                that the prediction repeats.
            params: Not used; MLflow hands it over.

        Returns:
            The same rows in the same order: ``video``, ``status``, ``reason``, ``used`` (``both``, ``video`` or
            ``audio``), ``label`` (the likeliest class; of several targets each target's, with commas between), and
            ``p_<class>`` per class or ``<target>`` per value; of classes also ``calibrated``, whether the
            probabilities are scaled by temperatures.
            Where there is no prediction, ``label`` is empty and numbers are missing.

        Raises:
            ValueError: If the table has neither column.
        """
        if not set(INPUT_COLUMNS) & set(videos.columns):
            raise ValueError(f"the table needs a column `{VIDEO_COLUMN}` (paths) or `{BYTES_COLUMN}` (bytes of videos)")
        rows = videos.reindex(columns=list(INPUT_COLUMNS)).astype(object)
        rows = rows.where(rows.notna(), "")
        predicted_videos = [self._row(str(name), str(encoded)) for name, encoded in rows.itertuples(index=False)]
        table = pd.DataFrame(predicted_videos, columns=output_columns(self._reader.targets, self._reader.classes))
        return table.astype(object).where(table.notna(), None) if table.isna().any(axis=None) else table  # JSON: no NaN

    def _row(self, name: str, encoded: str) -> dict[str, object]:
        prediction = self._predict_bytes(name, encoded) if encoded else self._reader.predict(Path(name))
        calibrated = {"calibrated": self._reader.calibrated} if self._reader.classes else {}
        named = {_column(value, self._reader.classes): number for value, number in prediction.values.items()}
        label = self._label(prediction.values) if self._reader.classes and prediction.values else ""
        return {
            "video": name,
            "status": prediction.status,
            "reason": prediction.reason,
            "used": prediction.used,
            "label": label,
            **calibrated,
            **named,
        }

    def _predict_bytes(self, name: str, encoded: str) -> Prediction:
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            return Prediction("unreadable", f"{BYTES_COLUMN} is not base64: {error}")
        with tempfile.NamedTemporaryFile(suffix=Path(name).suffix or ".mp4") as file:
            file.write(content)
            file.flush()
            return self._reader.predict(Path(file.name))

    def _label(self, values: Mapping[str, float]) -> str:
        names, size = list(values), len(self._reader.classes)
        by_target = [names[start : start + size] for start in range(0, len(names), size)]
        return ", ".join(max(target, key=lambda name: values[name]) for target in by_target)


def output_columns(targets: tuple[str, ...], classes: tuple[str, ...]) -> list[str]:
    """The columns of a prediction, in order."""
    names = [f"{target} {name}" for target in targets for name in classes] or list(classes) or list(targets)
    return [*TEXT_COLUMNS, *(["calibrated"] if classes else []), *(_column(name, classes) for name in names)]


def _column(name: str, classes: tuple[str, ...]) -> str:
    return f"p_{name.replace(' ', '_')}" if classes else name


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any]) -> ServedModel:
    device = device_named(model_config["device"])
    return ServedModel(open_video_reader(Path(data_path), None, model_config["num_segments"], device))
