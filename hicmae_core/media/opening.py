"""Opening media files that may be damaged, mislabelled or hostile: a stream, or a `MediaError` that says why not.

The containers that are opened, and the extensions that their files usually have, are listed here for all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av

from hicmae_core.files import START_BYTES, archive_kind, stand_in

MAX_PICTURE_PIXELS = 8192 * 4320
"""The largest image that cameras take (8K); one takes 106 MB as RGB."""
MAX_FRAME_RATE = 500
"""No camera videos faces faster; a rate of 1000 is the millisecond clock of Matroska and FLV in the wrong place."""
MAX_GAP_SECONDS = 10.0
"""A longer time without a frame is a wrong timestamp."""
MAX_STEP_BACK_SECONDS = 0.5
"""How far a frame may lie before the latest one so far."""

FORMATS = ("aac", "asf", "avi", "flac", "flv", "matroska", "webm", "mov", "mp3", "mpeg", "mpegts", "ogg", "wav")
"""FFmpeg's names. Playlists (concat, hls, dash, sdp ...) would fetch other files and play them under a file's name."""
_OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}


class MediaError(ValueError):
    """A file that cannot be used, and why.

    Attributes:
        path: The file.
        status: ``missing``, ``zero_byte``, ``unreadable``, ``too_large``, ``too_long``, ``no_video`` or ``no_sound``.
        reason: A sentence.
    """

    def __init__(self, path: Path, status: str, reason: str) -> None:
        super().__init__(path, status, reason)
        self.path, self.status, self.reason = path, status, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a file; whatever FFmpeg finds wrong with it, then or later, becomes a `MediaError`.

    FFmpeg is given the open file, not its name, so that no name can be taken for an address or a pattern, and no
    extension for what the file holds.
    """
    _check_file(path)
    try:
        with open(os.open(path, os.O_RDONLY), "rb") as file:
            _check_start(path, file.peek(START_BYTES))
            with _container(path, file) as container:
                for stream in (*container.streams.video, *container.streams.audio):
                    if stream.codec_context is not None:
                        stream.codec_context.thread_count = 1
                        stream.codec_context.options = _decoder_options(stream.codec_context.name)
                yield container
    except (av.FFmpegError, OSError) as error:
        raise MediaError(path, "unreadable", f"cannot be decoded: {error.strerror}") from None


def _check_file(path: Path) -> None:
    """Only a regular file with bytes in it is opened; opening a pipe would wait for ever."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError(path, "missing", "no such file") from None
    except (OSError, ValueError) as error:
        reason = f"cannot be reached: {getattr(error, 'strerror', None) or error}"
        raise MediaError(path, "unreadable", reason) from None
    if not stat.S_ISREG(found.st_mode):
        raise MediaError(path, "missing", "is a folder, pipe, socket or device, not a file")
    if found.st_size == 0:
        raise MediaError(path, "zero_byte", "is empty (0 bytes)")


def _check_start(path: Path, start: bytes) -> None:
    other = stand_in(start)
    if other:
        raise MediaError(path, "missing", other)
    if archive_kind(start):  # FFmpeg finds some containers anywhere, and would play the first video of an archive
        raise MediaError(path, "unreadable", "is an archive: unpack it first")


def _container(path: Path, file: BinaryIO) -> av.container.InputContainer:
    try:
        return av.open(file, "r", options=_OPTIONS, metadata_errors="ignore")
    except av.ArgumentError:
        raise MediaError(path, "unreadable", "is neither video nor audio in a container that is read") from None


def _decoder_options(codec: str) -> dict[str, str]:
    """A damaged JPEG would be completed with what is left in memory of another image, so it is an error."""
    options = {"max_pixels": str(MAX_PICTURE_PIXELS)}  # for images that grow midway
    return {**options, "err_detect": "explode"} if codec == "mjpeg" else options


def video_stream(path: Path, container: av.container.InputContainer) -> av.VideoStream | None:
    """The best moving video; None if there is none."""
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream) or av.stream.Disposition.attached_pic in stream.disposition:
        return None
    if stream.codec_context is None:
        raise MediaError(path, "unreadable", "its video is in a format that cannot be decoded")
    if stream.width * stream.height > MAX_PICTURE_PIXELS:
        reason = f"its image of {stream.width} x {stream.height} is larger than {MAX_PICTURE_PIXELS:,} pixels"
        raise MediaError(path, "too_large", reason)
    return stream


def audio_stream(path: Path, container: av.container.InputContainer) -> av.AudioStream | None:
    """The best audio; None if there is none."""
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        return None
    if stream.codec_context is None:
        raise MediaError(path, "unreadable", "its audio is in a format that cannot be decoded")
    return stream


def check_length(path: Path, seconds: float, max_seconds: float) -> None:
    """Raises: MediaError: If something of that length is too long."""
    if seconds > max_seconds:
        raise MediaError(path, "too_long", f"lasts {seconds:.1f} s or more, longer than {max_seconds:g} s")
