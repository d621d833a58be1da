"""`hicmae serve`: a small local web page, and the same predictions as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from hicmae.cli.reader import MODEL_HELP, Require, RequireOption
from hicmae.models import found_model
from hicmae.web.model_process import ModelProcess
from hicmae.web.server import Limits, make_app

EXAMPLES = """
hicmae serve
hicmae serve --port 8080 --model models/finetune/demo/2/model.safetensors
curl --data-binary @interview.mp4 -H 'Content-Type: video/mp4' http://127.0.0.1:8000/predict
"""


def main(
    model: Annotated[str | None, typer.Option(help=MODEL_HELP, show_default="the project's first fold")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own reach the net.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Larger files are refused.")] = 100,
    max_seconds: Annotated[float, typer.Option(min=2, help="Longer videos are refused.")] = 60,
    timeout: Annotated[float, typer.Option(min=30, help="Seconds after which a video is given up.")] = 120,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep uploads in.", show_default="keep none")] = None,
    require: RequireOption = Require.ANY,
) -> None:
    """Serve a web page on this machine: drop a video or record one, and see faces, timeline and probabilities.

    POST /predict predicts a file in the request's body and returns JSON.
    """
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    asker = ModelProcess(found_model(model), max_seconds, timeout, require)
    app = make_app(asker, Limits(round(max_megabytes * 1e6), max_seconds, keep=keep), host)
    print(f"http://{host}:{port} (Ctrl-C ends it)")
    uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=64, timeout_keep_alive=5)
