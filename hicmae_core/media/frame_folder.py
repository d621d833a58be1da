"""A clip's face frames as a folder of images, as corpora and OpenFace ship them.

The frames are the images directly in the folder whose names hold a number, in the order of the last number in their
names (``7.jpg``, ``00001_00007.jpg``, ``frame_det_00_000007.bmp``). Gaps are not filled: the numbers give the order and
nothing else. Other files, hidden ones and folders are passed over. What a file holds is recognised by its content.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from hicmae_core.files import IMAGE_KINDS, is_image, stand_in
from hicmae_core.media.cropping import encode_jpeg, nearest, resized
from hicmae_core.media.decoding import MediaInfo
from hicmae_core.media.opening import MAX_FRAME_RATE, MAX_PICTURE_PIXELS, MediaError
from hicmae_core.media.packets import MAX_LOST_FRACTION

_BLACK = 8
"""The brightest value of an image that shows nothing: OpenFace writes black images where it finds no face."""
_MAX_BYTES = 4 * MAX_PICTURE_PIXELS
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation, what turns the stored pixels upright."""
_STARTS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"BM": "bmp"}


class FrameFile(NamedTuple):
    """An image of a folder, and the number that says where it comes."""

    number: int
    path: Path


@dataclass(frozen=True)
class FolderFrames:
    """The frames of a folder, ready to be stored.

    Attributes:
        jpegs: One JPEG (RGB, square, all of one side) per frame.
        side: Their side, pixels.
        seen: Whether each frame shows something itself; the others have the JPEG of the nearest one that does.
        coverage: Share of the frames that do, of those that the numbers count from the first to the last.
        reason: What was lost, in a sentence; empty if nothing was.
    """

    jpegs: list[bytes]
    side: int
    seen: np.ndarray
    coverage: float
    reason: str


def list_frames(folder: Path) -> list[FrameFile]:
    """The frames of a folder, in order.

    Raises:
        MediaError: If there is none, or two have one number.
    """
    found: dict[int, Path] = {}
    try:
        with os.scandir(folder) as entries:
            images = sorted(
                entry.name
                for entry in entries
                if is_image(entry.name) and (entry.is_file() or (entry.is_symlink() and not entry.is_dir()))
            )
    except OSError as error:
        raise MediaError(folder, "unreadable", f"cannot be listed: {error.strerror}") from None
    for name in images:
        numbers = re.findall(r"\d+", name[: name.rfind(".")])
        if not numbers:
            continue
        other = found.setdefault(int(numbers[-1]), folder / name)
        if other.name != name:
            reason = f"two images have the number {int(numbers[-1])}: {other.name} and {name}; remove one of them"
            raise MediaError(folder, "unreadable", reason)
    if not found:
        raise MediaError(folder, "no_video", f"holds no image ({IMAGE_KINDS}) with a number in its name")
    return [FrameFile(number, found[number]) for number in sorted(found)]


def folder_state(folder: Path) -> str:
    """What stands for the content of a folder that is not read: names, sizes and times of its frames."""
    digest = hashlib.sha256()
    for frame in list_frames(folder):
        state = frame.path.lstat()
        digest.update(f"{frame.path.name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def inspect_folder(folder: Path) -> tuple[int, str]:
    """Read a folder's frames, without decoding them.

    Returns:
        Their number, and a SHA-256 of their names and content, in order.

    Raises:
        MediaError: If there is none, two have one number, or too many are no images.
    """
    frames, lost = list_frames(folder), {}
    digest = hashlib.sha256()
    for frame in frames:
        content, problem = b"", None
        try:
            content = _read(frame.path)
            _kind(content)
        except ValueError as error:
            problem = str(error)
        if problem:
            lost[frame.path.name] = problem
        name = hashlib.sha256(os.fsencode(frame.path.name)).digest()
        digest.update(name + hashlib.sha256(content).digest())
    _check_lost(folder, lost, len(frames))
    return len(frames), digest.hexdigest()


def read_folder(folder: Path, jpeg_quality: int) -> FolderFrames:
    """A folder's frames as JPEGs.

    A JPEG file is taken unchanged if it can be: square, as large as most frames of the folder, upright (no EXIF
    rotation), grey or colour. Others (PNG, BMP, CMYK) are encoded at their own size; of one that is not square the
    centre square is taken, and one of another size is resized. A damaged or black image costs itself.

    Args:
        folder: The clip's folder.
        jpeg_quality: Of what is encoded, in percent.

    Raises:
        MediaError: If there is none, two have one number, too many are damaged (``unreadable``), or all are black
            (``no_face``).
    """
    frames = list_frames(folder)
    jpegs: list[bytes] = []
    sides = np.zeros(len(frames), int)
    lost: dict[str, str] = {}
    black = 0
    for index, frame in enumerate(frames):
        try:
            jpeg, pixels = _as_jpeg(_read(frame.path), jpeg_quality)
        except ValueError as error:
            lost[frame.path.name] = str(error)
            jpegs.append(b"")
            continue
        jpegs.append(jpeg)
        if pixels.max() > _BLACK:
            sides[index] = len(pixels)
        else:
            black += 1
    _check_lost(folder, lost, len(frames))
    seen = sides > 0
    if not seen.any():
        raise MediaError(folder, "no_face", f"all of its {len(frames)} images are black")
    side, _ = max(Counter(sides[seen].tolist()).items(), key=lambda item: (item[1], item[0]))
    for index in np.flatnonzero(seen & (sides != side)).tolist():
        pixels = resized(simplejpeg.decode_jpeg(jpegs[index], "RGB"), side, side)
        jpegs[index] = encode_jpeg(pixels, jpeg_quality)
    numbers = [frame.number for frame in frames]
    step = math.gcd(*np.diff(numbers).tolist()) or 1
    coverage = float(seen.sum()) / ((numbers[-1] - numbers[0]) // step + 1)
    return FolderFrames(
        [jpegs[i] for i in nearest(np.flatnonzero(seen), len(seen))],
        side,
        seen,
        coverage,
        _what_was_lost(lost, black, len(frames)),
    )


def frame_rate(folder: Path, num_frames: int, audio: MediaInfo, clip: MediaInfo | None, fps: float | None) -> float:
    """Frames per second of a folder's frames.

    It is the video file's rate if there are as many frames as there, a twentieth or two apart; fewer or more are
    taken to be spread evenly over its length. Without a video file it is `fps`, or else the frames are spread over
    the audio.

    Args:
        folder: The clip's folder, for messages.
        num_frames: Its frames.
        audio: What the file with the audio declares.
        clip: What the video file declares that the frames were taken from; None if there is none, or if it is `audio`.
        fps: The rate that was declared for them; None if none was.

    Raises:
        MediaError: If that is no rate of a video.
    """
    clip = clip or audio
    if clip.has_video and abs(num_frames - clip.num_frames) <= max(2, clip.num_frames / 20):
        return clip.fps
    seconds = clip.num_frames / clip.fps if clip.has_video else audio.duration_seconds
    if fps and not clip.has_video:
        return fps
    if not 0 < num_frames <= MAX_FRAME_RATE * seconds:
        reason = (
            f"{num_frames} images to {seconds:.2f} s of the clip are no video; its frame rate can be given as `fps`"
        )
        raise MediaError(folder, "unreadable", reason)
    return num_frames / seconds


def middle_image(folder: Path) -> np.ndarray:
    """A folder's middle frame, RGB uint8 ``[height, width, 3]``.

    Raises:
        MediaError: If it cannot be decoded, or there is none.
    """
    frames = list_frames(folder)
    path = frames[len(frames) // 2].path
    try:
        return _decode(_read(path))[0]
    except ValueError as error:
        raise MediaError(path, "unreadable", str(error)) from None


def _read(path: Path) -> bytes:
    """Raises: ValueError: If it cannot be read, or is empty or too large."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ValueError(f"has {size:,} bytes, more than any image of {MAX_PICTURE_PIXELS:,} pixels")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not content:
        raise ValueError("is empty (0 bytes)")
    return content


def _kind(content: bytes) -> str:
    """Raises: ValueError: If it is not an image that is read."""
    for start, kind in _STARTS.items():
        if content.startswith(start):
            return kind
    raise ValueError(stand_in(content) or "is neither JPEG, PNG nor BMP")


def _as_jpeg(content: bytes, quality: int) -> tuple[bytes, np.ndarray]:
    """An image as a square JPEG, the file itself where that will do, and its pixels."""
    pixels, is_plain = _decode(content)
    height, width = pixels.shape[:2]
    if height != width:
        pixels = _square(pixels)
    elif is_plain:
        return content, pixels
    return encode_jpeg(pixels, quality), pixels


def _decode(content: bytes) -> tuple[np.ndarray, bool]:
    """Upright RGB pixels ``[height, width, 3]``, and whether the content is a JPEG that decodes to them as it is.

    Raises:
        ValueError: If it cannot be decoded without guessing.
    """
    kind = _kind(content)
    try:
        with Image.open(io.BytesIO(content), formats=(kind.upper(),)) as image:
            if image.width * image.height > MAX_PICTURE_PIXELS:
                raise ValueError(f"its {image.width} x {image.height} are more than {MAX_PICTURE_PIXELS:,} pixels")
            if kind == "jpeg" and image.mode in ("L", "RGB"):
                pixels = simplejpeg.decode_jpeg(content, "RGB")  # refuses what PIL would complete
                turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
                return (pixels, True) if turn is None else (np.asarray(Image.fromarray(pixels).transpose(turn)), False)
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits, which PIL would cut off instead of scaling
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGB")), False
    except Exception as error:  # PIL raises what its parsers meet: OSError, SyntaxError, struct.error ...
        raise ValueError(f"cannot be decoded: {error}") from None


def _square(pixels: np.ndarray) -> np.ndarray:
    """The centre square."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def _check_lost(folder: Path, lost: dict[str, str], num_frames: int) -> None:
    if len(lost) > MAX_LOST_FRACTION * num_frames:
        raise MediaError(folder, "unreadable", _what_was_lost(lost, 0, num_frames))


def _what_was_lost(lost: dict[str, str], num_black: int, num_frames: int) -> str:
    parts = []
    if lost:
        name, why = next(iter(lost.items()))
        parts.append(f"{len(lost)} of {num_frames} images are damaged, such as {name}, which {why}")
    if num_black:
        parts.append(f"{num_black} of {num_frames} images are black")
    return "; ".join(parts)
