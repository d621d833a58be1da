"""`hicmae explain`: see why a model says of a video what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hicmae.cli.reader import MODEL_HELP, open_reader
from hicmae.web.page import CAUTION, embedded_video, report_page
from hicmae.web.record import explained
from hicmae_core.files import as_text, atomic_path

EXAMPLES = """
hicmae explain interview.mp4
hicmae explain interview.mp4 --out report.html --model models/finetune/demo/2/model.safetensors
"""
MAX_SECONDS = 300.0


def main(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    model: Annotated[str | None, typer.Option(help=MODEL_HELP, show_default="the project's first fold")] = None,
) -> None:
    """Write one page, which loads nothing, that shows why a model says of a video what it says.

    The video with the face and the probabilities over time, the audio, what modality and layer moved the prediction,
    and where the attention went. Videos of up to 5 minutes.
    """
    if out.suffix != ".html":
        raise ValueError(f"{out}: the page's name ends in .html")
    reader = open_reader(model)
    with atomic_path(out) as temporary:  # before the work, not after it
        temporary.touch()
        record = explained(reader, video, MAX_SECONDS)
        if not record["whole"]:
            raise ValueError(record["reason"])
        film = embedded_video(video) if record["picture"] else {}
        about = f"Model: {model or 'the first fold of this project'}. {CAUTION}"
        temporary.write_text(report_page(as_text(video.name), about, record | film), encoding="utf-8")
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
