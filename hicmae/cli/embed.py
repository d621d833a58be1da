"""`hicmae embed`: a model's features of videos, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from hicmae.cli.inputs import media_files
from hicmae.cli.reader import FilesArgument, ModelOption, ProcessesOption, num_processes_for, open_reader
from hicmae_core.config import MODEL_KEY, SAMPLE_RATE_HZ
from hicmae_core.files import as_text, atomic_path
from hicmae_core.inference.windows import WindowOutputs
from hicmae_core.progress import progress_bar

EXAMPLES = """
hicmae embed recordings/ --out features.parquet
hicmae embed interview.mp4 --out windows.parquet --hop 0.5
hicmae embed scenes/*.mkv --out faces.parquet --all-speakers
"""

_SCHEMA = pa.schema(
    {
        "video": pa.string(),
        "face": pa.int32(),
        "status": pa.string(),
        "reason": pa.string(),
        MODEL_KEY: pa.string(),
        "start_seconds": pa.float64(),
        "end_seconds": pa.float64(),
        "features": pa.list_(pa.float32()),
    }
)


def main(
    videos: FilesArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The Parquet file to write.")],
    model: ModelOption = None,
    hop: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="A row per window, this far apart; 0 is a row per face.")
    ] = 0.0,
    all_speakers: Annotated[bool, typer.Option("--all-speakers", help="Each face seen for 2 s or more.")] = False,
    processes: ProcessesOption = None,
) -> None:
    """Write what the head of a model reads of videos, the vector after its last norm, into a Parquet file.

    Columns: video, face, status, reason, model_sha256, start_seconds, end_seconds, features (float32; null without a
    face).
    The exit code is 0 if any file has features, 1 if none has.
    """
    files = media_files(videos)
    reader = open_reader(model)
    all_window_outputs = reader.all_window_outputs(
        files, hop, "all" if all_speakers else "single", num_processes_for(files, processes)
    )
    model_key = {MODEL_KEY: reader.sha256}
    num_rows = num_answered = 0
    bar = progress_bar(all_window_outputs, total=len(files), desc="embed", unit="file")
    with atomic_path(out) as temporary, pq.ParquetWriter(temporary, _SCHEMA) as writer:  # before the work, not after it
        for file, faces in zip(files, bar, strict=True):
            rows = []
            for number, window_outputs in enumerate(faces, 1):
                track = window_outputs.face_sample.track
                shared = {
                    "video": as_text(file),
                    "face": number,
                    "status": track.status,
                    "reason": as_text(track.reason),
                }
                rows += [{**shared, **model_key, **row} for row in _rows(window_outputs, by_window=hop > 0)]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
            num_rows += len(rows)
            num_answered += sum(row["features"] is not None for row in rows)
    print(f"{out}: {num_answered} of {num_rows} rows have features, of {reader.model.head.in_features} values each")
    if not num_answered:
        raise typer.Exit(1)


def _rows(window_outputs: WindowOutputs, by_window: bool) -> Iterator[dict[str, Any]]:
    line = window_outputs.timeline
    if line is None:
        yield {"start_seconds": None, "end_seconds": None, "features": None}
    elif by_window:
        for index in line.line:
            start, end = window_outputs.seconds(index)
            yield {"start_seconds": start, "end_seconds": end, "features": window_outputs.features[index].numpy()}
    else:
        start = window_outputs.face_sample.sound_start / SAMPLE_RATE_HZ
        end = start + window_outputs.face_sample.num_samples / SAMPLE_RATE_HZ
        features = window_outputs.features[line.clip].mean(dim=0).numpy()
        yield {"start_seconds": start, "end_seconds": end, "features": features}
