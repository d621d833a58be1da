"""Pictures and sound out of media files, on one clock.

The clock's zero is the first video frame. Frame k of `read_frames` is the picture shown at ``k / fps`` seconds and
sample n of `read_audio` sounds at ``n / 16000`` seconds, so frame indices and sample indices convert into each
other by the two rates alone, whatever the container says about late or early starts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from hicmae_core.config import SAMPLE_RATE_HZ
from hicmae_core.media.colours import is_convertible
from hicmae_core.media.opening import MediaError, audio_stream, opened, video_stream
from hicmae_core.media.pictures import Display, Picture

MAX_FRAME_RATE = 500
"""No camera films faces faster; a rate of 1000 is the millisecond clock of Matroska and FLV in the wrong place."""
MAX_SECONDS = 3600.0
"""Sound is held in memory as a whole: 230 MB an hour."""

_MAX_FRAME_GAP_SECONDS = 10.0
_MAX_STEP_BACK_SECONDS = 0.5
_MAX_SOUND_GAP_SECONDS = 0.25
_MIN_DECODED_FRACTION = 0.9


@dataclass(frozen=True)
class MediaInfo:
    """What a file's header declares. The picture's values are 0 where there is no video.

    Attributes:
        fps: Mean frames per second.
        num_frames: Declared (or else estimated) frames.
        duration_seconds: Length of the longest stream.
        width: Width as shown, in square pixels and after rotation.
        height: Height as shown, in square pixels and after rotation.
        has_video: Whether there is moving video; cover art does not count.
        has_audio: Whether there is a sound stream.
    """

    fps: float
    num_frames: int
    duration_seconds: float
    width: int
    height: int
    has_video: bool
    has_audio: bool


def probe(path: Path) -> MediaInfo:
    """Read a file's header and its first frame.

    Raises:
        MediaError: If the file is missing, empty or not decodable, or has neither video nor sound.
    """
    with opened(path) as container:
        video, audio = video_stream(path, container), audio_stream(path, container)
        if video is None and audio is None:
            raise MediaError(path, "unreadable", "holds neither video nor sound")
        duration = max(_declared_seconds(video), _declared_seconds(audio), (container.duration or 0) / av.time_base)
        if video is None:
            return MediaInfo(0.0, 0, duration, 0, 0, has_video=False, has_audio=True)
        first = Picture(_first_frame(path, container, video), display=Display.of(video))
        fps = float(_frame_rate(path, video))
        num_frames = video.frames or round(duration * fps)
        return MediaInfo(
            fps, num_frames, duration, first.width, first.height, has_video=True, has_audio=audio is not None
        )


def read_frames(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """`read_pictures` as pixels: seconds since the first frame, and RGB uint8 ``[height, width, 3]``."""
    for at, picture in read_pictures(path):
        yield at, picture.rgb()


def read_pictures(path: Path, max_seconds: float = math.inf) -> Iterator[tuple[float, Picture]]:
    """Decode a video at its mean frame rate, a frame at a time.

    A variable frame rate becomes constant: frame k is the one nearest to ``k / fps`` in time, so frames may come
    twice or be left out. At a constant rate every frame comes exactly once.

    Args:
        path: A video file.
        max_seconds: Decoding stops with an error once the video turns out to be longer.

    Yields:
        Seconds since the first frame, and the picture.

    Raises:
        MediaError: If there is no video, it is damaged, too long, or ends well before its declared length.
    """
    with opened(path) as container:
        video = video_stream(path, container)
        if video is None:
            raise MediaError(path, "no_video", "has no video stream")
        _check_length(path, _declared_seconds(video) or (container.duration or 0) / av.time_base, max_seconds)
        frame_seconds = 1 / float(_frame_rate(path, video))
        converter, display = VideoReformatter(), Display.of(video)
        next_index = 0
        shown: Picture | None = None
        shown_at = 0.0
        for frame, at in _timed(path, container.decode(video), frame_seconds):
            _check_length(path, at, max_seconds)
            _check_colours(path, frame)
            while shown is not None and next_index * frame_seconds < (shown_at + at) / 2:
                yield next_index * frame_seconds, shown
                next_index += 1
            shown, shown_at = Picture(frame, converter, display), at
        if shown is None:
            raise MediaError(path, "no_video", "has a video stream without a single frame")
        _check_whole(path, "video", shown_at + frame_seconds, _declared_seconds(video))
        _check_alone(path, shown_at + frame_seconds, _declared_seconds(video))
        while next_index * frame_seconds < shown_at + 0.5 * frame_seconds:
            yield next_index * frame_seconds, shown
            next_index += 1


def read_audio(path: Path, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Decode a file's sound, mixed down to mono at 16 kHz, for as long as its video runs.

    Sample 0 belongs to the first video frame: sound that starts late is padded with zeros, sound that starts early
    is cut, and likewise at the end of the video. In a file without video it is all of the sound.

    Args:
        path: A file with sound.
        max_seconds: Longer sound, or sound to a longer video, is refused before it fills the memory.

    Returns:
        float32 ``[num_samples]`` in [-1, 1]. The same samples as ``ffmpeg -ac 1 -ar 16000``.

    Raises:
        MediaError: If there is no sound, it is damaged, too long, or ends well before its declared length.
    """
    with opened(path) as container:
        video, audio = video_stream(path, container), audio_stream(path, container)
        if audio is None:
            raise MediaError(path, "no_sound", "has no sound stream")
        video_start = None if video is None else _first_frame(path, container, video).time
        video_seconds = _declared_seconds(video)
        _check_length(path, max(video_seconds, _declared_seconds(audio)), max_seconds)
    with opened(path) as container:
        audio = audio_stream(path, container)
        assert audio is not None, "found above"
        pieces, audio_start = _resampled(path, container.decode(audio), max_seconds)
        declared_seconds = _declared_seconds(audio)
    if not pieces:
        raise MediaError(path, "no_sound", "has a sound stream without a single sample")
    samples = np.concatenate(pieces).astype(np.float32) / 32768
    _check_whole(path, "sound", len(samples) / SAMPLE_RATE_HZ, declared_seconds)
    if video_start is not None and audio_start is not None:
        _check_length(path, abs(audio_start - video_start), max_seconds)
        delay = round((audio_start - video_start) * SAMPLE_RATE_HZ)
        samples = np.pad(samples, (delay, 0)) if delay > 0 else samples[-delay:]
    if video_seconds:
        num_samples = round(video_seconds * SAMPLE_RATE_HZ)
        samples = np.pad(samples, (0, max(0, num_samples - len(samples))))[:num_samples]
    return samples


def _resampled(
    path: Path, frames: Iterator[av.AudioFrame], max_seconds: float
) -> tuple[list[np.ndarray], float | None]:
    """16 kHz mono int16 pieces of sound, and the time of the first one on the container's clock.

    Where sound is missing there is silence, so that what follows stays on the clock.
    """
    resampler = _resampler()
    start: float | None = None
    expected: float | None = None
    pieces: list[np.ndarray] = []
    seconds = 0.0
    for frame in frames:
        start = frame.time if start is None else start
        gap = 0.0 if frame.time is None or expected is None else frame.time - expected
        if not -_MAX_STEP_BACK_SECONDS <= gap <= _MAX_FRAME_GAP_SECONDS:
            raise MediaError(path, "unreadable", f"its sound jumps by {gap:.1f} s at {seconds:.1f} s")
        try:
            if gap > _MAX_SOUND_GAP_SECONDS:
                pieces += _samples(resampler, None)
                pieces.append(np.zeros(round(gap * SAMPLE_RATE_HZ), np.int16))
                resampler = _resampler()
            pieces += _samples(resampler, frame)
        except ValueError as error:
            raise MediaError(path, "unreadable", f"its sound changes format midway: {error}") from None
        frame_seconds = frame.samples / frame.sample_rate
        expected = None if frame.time is None else frame.time + frame_seconds
        seconds += frame_seconds + max(gap, 0.0)
        _check_length(path, seconds, max_seconds)
    return pieces + _samples(resampler, None), start


def _resampler() -> av.AudioResampler:
    """To s16, because mono in a float format comes out louder by sqrt(2); in seconds, which is twice as fast."""
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ, frame_size=SAMPLE_RATE_HZ)


def _samples(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> list[np.ndarray]:
    return [piece.to_ndarray()[0] for piece in resampler.resample(frame)]


def _declared_seconds(stream: av.VideoStream | av.AudioStream | None) -> float:
    """A stream's length according to the header; 0 where unknown."""
    if stream is None or stream.duration is None or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)


def _first_frame(path: Path, container: av.container.InputContainer, video: av.VideoStream) -> av.VideoFrame:
    frame = next(container.decode(video), None)
    if frame is None:
        raise MediaError(path, "no_video", "has a video stream without a single frame")
    return frame


def _frame_rate(path: Path, video: av.VideoStream) -> Fraction:
    rates = (video.average_rate, video.guessed_rate)
    for rate in rates:
        if rate and 0 < rate <= MAX_FRAME_RATE:
            return Fraction(rate)
    raise MediaError(path, "unreadable", f"its frame rate of {rates[0] or 'unknown'} is not one of a video")


def _timed(path: Path, frames: Iterator[av.VideoFrame], frame_seconds: float) -> Iterator[tuple[av.VideoFrame, float]]:
    """Frames with their times, in seconds since the first; a frame without a time follows the one before."""
    start: float | None = None
    last = -frame_seconds
    num_frames = num_damaged = 0
    is_damaged = False
    for frame in frames:
        is_damaged = frame.is_corrupt or (is_damaged and not frame.key_frame)  # what is predicted from it is, too
        num_frames += 1
        num_damaged += is_damaged
        at = last + frame_seconds
        if frame.time is not None:
            start = frame.time if start is None else start
            at = frame.time - start
        if not math.isfinite(at) or not -_MAX_STEP_BACK_SECONDS <= at - last <= _MAX_FRAME_GAP_SECONDS:
            raise MediaError(path, "unreadable", f"its frame times jump from {last:.1f} s to {at:.1f} s")
        yield frame, at
        last = at
    if num_damaged > (1 - _MIN_DECODED_FRACTION) * num_frames:
        raise MediaError(path, "unreadable", f"is damaged: {num_damaged} of {num_frames} frames")


def _check_whole(path: Path, what: str, decoded_seconds: float, declared_seconds: float) -> None:
    if decoded_seconds < _MIN_DECODED_FRACTION * declared_seconds:
        reason = f"is truncated: {decoded_seconds:.2f} of {declared_seconds:.2f} s of {what} can be decoded"
        raise MediaError(path, "unreadable", reason)


def _check_alone(path: Path, decoded_seconds: float, declared_seconds: float) -> None:
    """What lies behind a film's declared end may be another film, and has no sound."""
    if declared_seconds and decoded_seconds > declared_seconds / _MIN_DECODED_FRACTION + _MAX_STEP_BACK_SECONDS:
        reason = f"goes on for {decoded_seconds:.2f} s, although it declares {declared_seconds:.2f} s of video"
        raise MediaError(path, "unreadable", reason)


def _check_colours(path: Path, frame: av.VideoFrame) -> None:
    if not is_convertible(frame):
        raise MediaError(
            path, "unreadable", f"codes its colours in a way that is not known (matrix {frame.colorspace})"
        )


def _check_length(path: Path, seconds: float, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise MediaError(path, "too_long", f"lasts {seconds:.1f} s or more, longer than {max_seconds:g} s")
