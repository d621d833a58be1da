"""`hicmae predict`: ask a trained model about any videos."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from hicmae.cli.inputs import media_files
from hicmae.cli.output import STDOUT, PredictionsTable, RecordsArray, show
from hicmae.cli.reader import FilesArgument, ModelOption, ProcessesOption, Require, RequireOption, open_reader
from hicmae.models import num_processes_for
from hicmae.predictions import VideoPrediction
from hicmae_core.config import HOP_SECONDS, FacePolicy
from hicmae_core.progress import progress_bar

if TYPE_CHECKING:
    from hicmae_core.inference.video import Prediction

EXAMPLES = """
hicmae predict interview.mp4
hicmae predict interview.mp4 --hop 0.5 --csv timeline.csv
hicmae predict talkshow.mp4 --all-speakers
hicmae predict recordings/ --json > answers.json
hicmae predict 'recordings/**/*.mkv' --csv -
hicmae predict interview.mp4 --require both
hicmae predict recordings/ --abstain 0.2
hicmae predict interview.mp4 --model models/finetune/demo/2/model.safetensors
hicmae predict interview.mp4 --model models:/hicmae-demo@champion
"""


def main(
    videos: FilesArgument,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, a record per face.")] = False,
    csv: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a row per face and window; - prints it.")
    ] = None,
    all_speakers: Annotated[
        bool, typer.Option("--all-speakers", help="Answer each face seen for 2 s or more.")
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            show_default=f"{HOP_SECONDS:g}, and none in a table of several files",
            help="Largest distance of the windows of the timeline; 0 asks about the whole clip only.",
        ),
    ] = None,
    processes: ProcessesOption = None,
    require: RequireOption = Require.ANY,
    abstain: Annotated[
        float | None,
        typer.Option(
            metavar="RISK",
            min=0,
            max=1,
            help="Give no prediction where the model is so unsure that more than this share of its predictions for "
            "the speakers held out from training would be wrong.",
        ),
    ] = None,
) -> None:
    """Ask a trained model about videos: each target's probabilities, or values, of the whole clip and over time.

    The exit code is 0 if any file was predicted, 1 if none was, 2 if the arguments are wrong.
    """
    if as_json and csv == STDOUT:
        raise ValueError("--json and --csv - would both print; write the CSV into a file")
    files = media_files(videos)
    reader = open_reader(model, require)
    if abstain is not None:
        reader = reader.abstaining(abstain)
    if hop is None:
        hop = HOP_SECONDS if len(files) == 1 or as_json or csv else 0.0
    policy: FacePolicy = "all" if all_speakers else "single"
    table = None if csv is None else PredictionsTable(csv, reader, go_on=False)
    predictions: Iterable[list[Prediction]] = reader.predict_all(
        files, hop, policy, num_processes_for(files, processes)
    )
    if len(files) > 1:
        predictions = progress_bar(predictions, total=len(files), desc="predict", unit="file")
    printed = RecordsArray(reader) if as_json else None
    predicted_videos = []
    for file, of_file in zip(files, predictions, strict=True):
        predicted_videos.append(VideoPrediction(file, of_file))
        for writer in (table, printed):
            if writer is not None:
                writer.append(predicted_videos[-1])
    if printed is not None:
        printed.close()
    elif csv != STDOUT:
        show(predicted_videos, reader)
    if not any(prediction.values for _, of_file in predicted_videos for prediction in of_file):
        raise typer.Exit(1)
