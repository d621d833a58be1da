"""Folders of generated face frames, as corpora ship them."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.media.films import picture


def face(number: int, side: int = 64) -> np.ndarray:
    """A face that differs from frame to frame, RGB uint8 ``[side, side, 3]``."""
    whole = picture([(80 + number % 20, 80, 90)], 160, 160)
    return np.asarray(Image.fromarray(whole).resize((side, side)))


def encoded(image: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """An image's file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def decoded(content: bytes) -> np.ndarray:
    """A file's pixels as they are stored, RGB."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def write_frames(
    folder: Path, numbers: Iterable[int] = range(1, 13), name: str = "{}.jpg", side: int = 64
) -> list[bytes]:
    """Write a frame for each number; the files' content, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"jpg": "JPEG", "jpeg": "JPEG"}.get(suffix := name.rpartition(".")[2].lower(), suffix.upper())
    contents = [encoded(face(number, side), kind) for number in numbers]
    for number, content in zip(numbers, contents, strict=True):
        (folder / name.format(number)).write_bytes(content)
    return contents
