"""A film for a page that loads nothing: whole if it is small and browsers play it, else a picture each second."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import cv2

from hicmae_core.media.cropping import encode_jpeg
from hicmae_core.media.decoding import read_pictures
from hicmae_core.media.opening import opened

MAX_EMBEDDED_BYTES = 12 * 2**20
_PLAYED = {
    "mp4": ({"h264"}, {"aac", "mp3", "opus", "flac"}),
    "webm": ({"vp8", "vp9", "av1", "libdav1d"}, {"opus", "vorbis"}),
}
"""Codecs of pictures and of sound that every current browser plays, by container."""
_WIDTH = 480
_QUALITY = 80


def film_of(path: Path) -> dict[str, Any]:
    """``video``, a data address, or ``pictures``, each with its ``seconds`` and its ``jpeg``."""
    kind = played_as(path)
    if kind and path.stat().st_size <= MAX_EMBEDDED_BYTES:
        return {"video": f"data:video/{kind};base64,{b64encode(path.read_bytes()).decode()}"}
    return {"pictures": pictures(path)}


def played_as(path: Path) -> str | None:
    """``mp4`` or ``webm`` if browsers play the file."""
    with opened(path) as container:
        names = set(container.format.name.split(","))
        video, sound = (
            {stream.codec_context for stream in s} for s in (container.streams.video, container.streams.audio)
        )
        if any(context is None for context in video | sound):
            return None
        for kind, (pictures_played, sound_played) in _PLAYED.items():
            plays = {c.name for c in video} <= pictures_played and {c.name for c in sound} <= sound_played
            if kind in names and plays and {c.pix_fmt for c in video} <= {"yuv420p", "yuvj420p"}:
                return kind
    return None


def pictures(path: Path) -> list[dict[str, Any]]:
    """A small picture of each second: its ``seconds`` and its ``jpeg``."""
    taken: list[dict[str, Any]] = []
    for seconds, picture in read_pictures(path):
        if seconds < len(taken):
            continue
        image = picture.rgb()
        scale = min(1.0, _WIDTH / picture.width)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        jpeg = encode_jpeg(small, _QUALITY)
        taken.append({"seconds": round(seconds, 3), "jpeg": b64encode(jpeg).decode()})
    return taken
