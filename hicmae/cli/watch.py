"""`hicmae watch`: predict what comes, from a folder that grows or from a camera."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hicmae.cli.inputs import GrowingFolder
from hicmae.cli.output import PredictionsTable, in_lines
from hicmae.cli.reader import ModelOption, Require, RequireOption, open_reader
from hicmae.predictions import VideoPrediction, records
from hicmae.web.camera import Camera
from hicmae_core.config import HOP_SECONDS, FacePolicy
from hicmae_core.inference.preprocessing import preprocessing_process
from hicmae_core.inference.video import Prediction, VideoReader

EXAMPLES = """
hicmae watch recordings/
hicmae watch recordings/ --csv answers.csv
hicmae watch recordings/ --json >> answers.jsonl
hicmae watch --camera 0
hicmae watch --camera rtsp://192.0.2.7/live --csv camera.csv
"""
_POLL_SECONDS = 1.0


def main(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A folder into which videos are put.", show_default=False)
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|SOURCE", help="Instead: 0 is the first webcam; or an address or file for OpenCV."),
    ] = None,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON record per face, each in a line.")] = False,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append a row per face and window; videos that are in it are left out."),
    ] = None,
    all_speakers: Annotated[
        bool, typer.Option("--all-speakers", help="Answer each face seen for 2 s or more.")
    ] = False,
    hop: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="As of predict, in --json and --csv; 0 makes no windows.")
    ] = HOP_SECONDS,
    require: RequireOption = Require.ANY,
) -> None:
    """Predict videos as they come: each new one in a folder, or what a camera shows, video after video.

    A file that is still being written is waited for. A camera gives no audio, so a model that also listens is given
    none. Ctrl-C ends it, with exit code 0.
    """
    if (folder is None) == (camera is None):
        raise ValueError("watch what? Name a folder, or a camera with --camera 0")
    try:
        source = None if camera is None else Camera(camera)
        reader = open_reader(model, require)
        table = None if csv is None else PredictionsTable(csv, reader, go_on=True)
        policy: FacePolicy = "all" if all_speakers else "single"
        if source is not None:
            predictions = _of_camera(source, reader, policy)
        else:
            assert folder is not None
            growing = GrowingFolder(folder, [] if table is None else table.videos)
            predictions = _of_folder(growing, reader, policy, hop if as_json or csv else 0.0)
        for predicted_videos in predictions:
            if table is not None:
                table.append(predicted_videos)
            lines = (
                map(json.dumps, records([predicted_videos], reader)) if as_json else in_lines(predicted_videos, reader)
            )
            print("\n".join(lines), flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


def _of_folder(
    growing: GrowingFolder, reader: VideoReader, policy: FacePolicy, hop: float
) -> Iterator[VideoPrediction]:
    with preprocessing_process(reader.preprocessor(policy)) as preprocess:
        while True:
            for path in growing.finished():
                (predictions,) = reader.predictions_of_samples([preprocess(path)], hop)
                is_whole = predictions[0].used == reader.model.architecture.modality
                if not is_whole and growing.put_off(path):
                    continue
                yield VideoPrediction(path, predictions)
            time.sleep(_POLL_SECONDS)


def _of_camera(camera: Camera, reader: VideoReader, policy: FacePolicy) -> Iterator[VideoPrediction]:
    """Films as long as the model's clips."""
    preprocessor = reader.preprocessor(policy, silent=True)
    with tempfile.TemporaryDirectory(prefix="hicmae-") as folder:
        path = Path(folder) / "film.mp4"
        try:
            for start in camera.record(reader.window_seconds, path):
                (predictions,) = reader.predictions_of_samples([preprocessor.preprocess(path)], 0.0)
                yield VideoPrediction(
                    camera.name, [_placed(prediction, path, camera.name, start) for prediction in predictions]
                )
        finally:
            camera.close()


def _placed(prediction: Prediction, film: Path, name: str, start: float) -> Prediction:
    """A prediction about a video as one about the camera that it is of."""
    return replace(
        prediction,
        reason=prediction.reason.replace(str(film), name),
        start_seconds=round(start + prediction.start_seconds, 3),
        end_seconds=round(start + prediction.end_seconds, 3),
    )
