"""From a file to all that a page shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hicmae_core.inference.explanation import explain
from hicmae_core.inference.video import VideoReader
from hicmae_core.media.decoding import MediaError, probe
from stages.web.record import explanation_record


def explained(reader: VideoReader, path: Path, max_seconds: float) -> dict[str, Any]:
    """`explanation_record` of a file; of a bad one, its status and the reason.

    Args:
        reader: The model that is asked.
        path: A video, or sound if the model only listens.
        max_seconds: Longer files are refused.
    """
    try:
        info = probe(path)
    except MediaError as error:
        return {"status": error.status, "reason": str(error), "whole": []}
    return explanation_record(reader, explain(reader, path, max_seconds), (info.width, info.height))
