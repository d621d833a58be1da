"""`hicmae embed`: a model's features of videos, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from hicmae.cli.inputs import media_files
from hicmae.cli.reader import FilesArgument, ModelOption, ProcessesOption, open_reader
from hicmae.models import num_processes_for
from hicmae.predictions import feature_rows
from hicmae_core.config import MODEL_KEY
from hicmae_core.files import atomic_path
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
    num_rows = num_answered = 0
    bar = progress_bar(all_window_outputs, total=len(files), desc="embed", unit="file")
    with atomic_path(out) as temporary, pq.ParquetWriter(temporary, _SCHEMA) as writer:  # before the work, not after it
        for file, faces in zip(files, bar, strict=True):
            rows = list(feature_rows(file, faces, reader, by_window=hop > 0))
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
            num_rows += len(rows)
            num_answered += sum(row["features"] is not None for row in rows)
    print(f"{out}: {num_answered} of {num_rows} rows have features, of {reader.model.head.in_features} values each")
    if not num_answered:
        raise typer.Exit(1)
