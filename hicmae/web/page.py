"""Pages in one piece: styles, scripts and the video are in them, and they load nothing.

A video is embedded whole if it is small and browsers play it, else as an image per second.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hicmae_core.media.cropping import encode_jpeg
from hicmae_core.media.decoding import read_decoded_frames
from hicmae_core.media.opening import opened

CAUTION = "It says how an expression looks and sounds, not what a person feels."
_HERE = Path(__file__).parent

MAX_EMBEDDED_BYTES = 12 * 2**20
_PLAYED = {
    "mp4": ({"h264"}, {"aac", "mp3", "opus", "flac"}),
    "webm": ({"vp8", "vp9", "av1", "libdav1d"}, {"opus", "vorbis"}),
}
"""Codecs of images and of audio that every current browser plays, by container."""
_WIDTH = 480
_QUALITY = 80


def report_page(title: str, about: str, record: dict[str, Any]) -> str:
    """The page of one explained video.

    Args:
        title: The file's name.
        about: A sentence on the model and how to read the page.
        record: `record.explanation_record`, with what `embedded_video` adds.
    """
    return _filled("report.html", title=title, about=about, data=record, script=_text("explanation.js"))


def serve_page(max_bytes: int, max_seconds: float, keep: Path | None) -> str:
    """The page of `hicmae serve`.

    Args:
        max_bytes: Size of the largest file that is taken.
        max_seconds: Length of the longest video that is taken.
        keep: Folder in which the server keeps files, if it does.
    """
    fate = "is deleted when it has been processed" if keep is None else f"is kept there, in {keep}"
    about = (
        f"At most {max_bytes / 1e6:g} MB and {max_seconds:g} s. The file goes to the machine that serves this page and "
        f"{fate}. {CAUTION}"
    )
    limits = {"max_bytes": max_bytes, "max_seconds": max_seconds}
    script = _text("explanation.js") + _text("serve.js")
    return _filled("serve.html", about=about, limits=limits, script=script)


def _filled(name: str, **parts: Any) -> str:
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment.get_template(name).render(parts, style=_text("page.css"))


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def embedded_video(path: Path) -> dict[str, Any]:
    """``video``, a data address, or ``pictures``, each with its ``seconds`` and its ``jpeg``."""
    kind = played_as(path)
    if kind and path.stat().st_size <= MAX_EMBEDDED_BYTES:
        return {"video": f"data:video/{kind};base64,{b64encode(path.read_bytes()).decode()}"}
    return {"pictures": pictures(path)}


def played_as(path: Path) -> str | None:
    """``mp4`` or ``webm`` if browsers play the file."""
    with opened(path) as container:
        names = set(container.format.name.split(","))
        video = {stream.codec_context for stream in container.streams.video}
        sound = {stream.codec_context for stream in container.streams.audio}
        if None in video or None in sound:
            return None
        for kind, (pictures_played, sound_played) in _PLAYED.items():
            plays = {c.name for c in video} <= pictures_played and {c.name for c in sound} <= sound_played
            if kind in names and plays and {c.pix_fmt for c in video} <= {"yuv420p", "yuvj420p"}:
                return kind
    return None


def pictures(path: Path) -> list[dict[str, Any]]:
    """A small image of each second: its ``seconds`` and its ``jpeg``."""
    taken: list[dict[str, Any]] = []
    for seconds, picture in read_decoded_frames(path):
        if seconds < len(taken):
            continue
        image = picture.rgb()
        scale = min(1.0, _WIDTH / picture.width)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        jpeg = encode_jpeg(small, _QUALITY)
        taken.append({"seconds": round(seconds, 3), "jpeg": b64encode(jpeg).decode()})
    return taken
