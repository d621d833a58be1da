"""Images and audio out of media files, on one clock.

The clock's zero is the first video frame that decodes. Frame k of `read_frames` is shown at ``k / fps`` seconds and
sample n of `read_audio` is heard at ``n / 16000`` seconds, so frame indices and sample indices convert into
each other by the two rates alone, whatever the container says about late or early starts. Both end where the video's
packets end: there are ``num_frames / fps`` seconds of audio, whatever length the header declares.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from hicmae_core.config import SAMPLE_RATE_HZ
from hicmae_core.media.decoded_frame import DecodedFrame, Display, is_convertible
from hicmae_core.media.opening import (
    MAX_STEP_BACK_SECONDS,
    MediaError,
    audio_stream,
    check_length,
    opened,
    video_stream,
)
from hicmae_core.media.packets import MIN_INTACT_FRACTION, Damage, Demuxer, VideoClock
from hicmae_core.media.waveform import Waveform

MAX_SECONDS = 3600.0
"""Sound is held in memory as a whole: 230 MB an hour."""

_ONE_LENGTH_FORMATS = ("asf", "flv", "matroska,webm")
"""Formats that declare the length of the longest stream alone; FFmpeg may say that it is each stream's."""
_NO_LENGTH_FORMATS = ("aac", "mp3")
"""Formats whose length FFmpeg guesses from the first bytes, up to 27 times too long."""


@dataclass(frozen=True)
class MediaInfo:
    """What a file's header declares. The video's values are 0 where there is none.

    Attributes:
        fps: Mean frames per second.
        num_frames: Frames as declared; counted where the header does not say.
        duration_seconds: Length of the longest stream; 0 where the header does not say.
        width: Width as shown, in square pixels and after rotation.
        height: Height as shown, in square pixels and after rotation.
        has_video: Whether there is moving video; cover art does not count.
        has_audio: Whether there is an audio stream.
    """

    fps: float
    num_frames: int
    duration_seconds: float
    width: int
    height: int
    has_video: bool
    has_audio: bool


def probe(path: Path) -> MediaInfo:
    """Read a file's header and its first frame, and all of its timestamps if the header does not count the frames.

    Raises:
        MediaError: If the file is missing, empty or not decodable, or has neither video nor audio.
    """
    with opened(path) as container:
        video, audio = video_stream(path, container), audio_stream(path, container)
        if video is None and audio is None:
            raise MediaError(path, "unreadable", "holds neither video nor audio")
        duration = max(_declared_seconds(video), _declared_seconds(audio), _container_seconds(container))
        if video is None:
            if container.format.name in _NO_LENGTH_FORMATS:
                demuxer = Demuxer(container, audio)
                collections.deque(demuxer, maxlen=0)
                duration = demuxer.end_seconds
            return MediaInfo(0.0, 0, duration, 0, 0, has_video=False, has_audio=True)
        clock = VideoClock(path, video)
        is_counted = bool(video.frames or _declared_seconds(video))
        for packet in Demuxer(container, video):
            clock.peek(packet)
            if clock.has_begun and is_counted:
                break
        frame = clock.first_frame()
        picture = DecodedFrame(frame, display=Display.of(video, frame))
        declared = round(_declared_seconds(video) * clock.fps) or video.frames  # some of these may never be shown
        return MediaInfo(
            float(clock.fps),
            declared if is_counted else clock.num_pictures(),
            duration,
            picture.width,
            picture.height,
            has_video=True,
            has_audio=audio is not None,
        )


def read_frames(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """`read_decoded_frames` as pixels: seconds since the first frame, and RGB uint8 ``[height, width, 3]``."""
    for at, picture in read_decoded_frames(path):
        yield at, picture.rgb()


def read_decoded_frames(
    path: Path, max_seconds: float = math.inf, damage: Damage | None = None
) -> Iterator[tuple[float, DecodedFrame]]:
    """Decode a video at its mean frame rate, a frame at a time.

    A variable frame rate becomes constant: frame k is the one nearest to ``k / fps`` in time, so frames may come
    twice or be left out. At a constant rate every frame comes exactly once. A frame that does not decode costs itself:
    a neighbour is shown in its place.

    Args:
        path: A video file.
        max_seconds: Decoding stops with an error once the video turns out to be longer.
        damage: Counts what does not decode; complete when the last image has come.

    Yields:
        Seconds since the first frame, and the image.

    Raises:
        MediaError: If there is no video, it is damaged by more than a tenth, too long, or ends well before its declared
            length.
    """
    damage = damage or Damage("video")
    with opened(path) as container:
        video, audio = video_stream(path, container), audio_stream(path, container)
        if video is None:
            raise MediaError(path, "no_video", "has no video stream")
        declared_seconds = _declared_seconds(video)
        check_length(path, declared_seconds or _container_seconds(container), max_seconds)
        clock, demuxer = VideoClock(path, video), Demuxer(container, video, audio)
        frame_seconds = clock.frame_seconds
        converter, display = VideoReformatter(), Display()
        next_index = 0
        shown: DecodedFrame | None = None
        shown_at = 0.0
        coded_ratio = video.codec_context.sample_aspect_ratio
        changed_ratio: Fraction | None = None
        for frame, at in clock.timed(_video_frames(demuxer, video, clock, damage)):
            check_length(path, at, max_seconds)
            _check_colours(path, frame)
            while shown is not None and next_index * frame_seconds < (shown_at + at) / 2:
                yield next_index * frame_seconds, shown
                next_index += 1
            before, coded_ratio = coded_ratio, video.codec_context.sample_aspect_ratio
            if shown is not None and coded_ratio != before:
                changed_ratio = coded_ratio
            if shown is None or coded_ratio != before or frame.rotation != shown.frame.rotation:
                display = Display.of(video, frame, changed_ratio)
            shown, shown_at = DecodedFrame(frame, converter, display), at
        damage.check(path)
        if shown is None:
            raise MediaError(path, "no_video", "has a video stream without a single frame")
        num_pictures = clock.num_pictures()
        check_length(path, clock.end, max_seconds)
        whole_seconds = max(declared_seconds, clock.missed_seconds + clock.end)
        _check_whole(path, "video", shown_at + frame_seconds, whole_seconds)
        _check_alone(path, shown_at + frame_seconds, declared_seconds)
        _check_reach(path, container, demuxer, video, audio)
        while next_index < num_pictures:
            yield next_index * frame_seconds, shown
            next_index += 1


def read_audio(path: Path, max_seconds: float = MAX_SECONDS, damage: Damage | None = None) -> np.ndarray:
    """Decode a file's audio, mixed down to mono at 16 kHz, for as long as its video runs.

    Sample 0 belongs to the first video frame: audio that starts late is padded with zeros, audio that starts early
    is cut, and likewise at the end of the video: `read_decoded_frames` shows
    ``fps * num_samples / 16000`` frames. In a file
    without video it is all of the audio. Where audio is missing there is silence.

    Args:
        path: A file with audio.
        max_seconds: Longer audio, or audio to a longer video, is refused before it fills the memory.
        damage: Counts what does not decode.

    Returns:
        float32 ``[num_samples]`` in [-1, 1]. The same samples as ``ffmpeg -ac 1 -ar 16000``.

    Raises:
        MediaError: If there is no audio, it is damaged by more than a tenth, too long, or ends well before its declared
            length.
    """
    damage = damage or Damage("audio")
    with opened(path) as container:
        video, audio = video_stream(path, container), audio_stream(path, container)
        if audio is None:
            raise MediaError(path, "no_sound", "has no audio stream")
        check_length(path, max(_declared_seconds(video), _declared_seconds(audio)), max_seconds)
        clock = None if video is None else VideoClock(path, video)
        demuxer, waveform = Demuxer(container, video, audio), Waveform(path, max_seconds)
        for packet in demuxer:
            if packet.stream.index == audio.index:
                for frame in damage.decode(packet) or ():
                    waveform.add(frame)
            elif clock is not None:
                clock.peek(packet)
        damage.num_broken += demuxer.num_failures
        damage.check(path)
        if clock is not None:
            clock.first_frame()
        samples = waveform.samples()
        if not len(samples):
            raise MediaError(path, "no_sound", "has an audio stream without a single sample")
        _check_whole(path, "sound", len(samples) / SAMPLE_RATE_HZ, _declared_seconds(audio))
        _check_reach(path, container, demuxer, video, audio)
        if clock is None:
            return samples
        num_samples = round(clock.num_pictures() / clock.fps * SAMPLE_RATE_HZ)
        check_length(path, clock.end, max_seconds)
        _check_alone(path, clock.end + clock.frame_seconds, _declared_seconds(video))
    delay = 0.0 if waveform.start is None or clock.start is None else waveform.start - clock.start
    check_length(path, abs(delay), max_seconds)
    return _placed(samples, round(delay * SAMPLE_RATE_HZ), num_samples)


def _placed(samples: np.ndarray, delay: int, num_samples: int) -> np.ndarray:
    """`samples` from `delay` on, cut and padded with zeros to `num_samples`."""
    placed = np.zeros(num_samples, np.float32)
    samples = samples[max(-delay, 0) :]
    kept = placed[max(delay, 0) :]
    length = min(len(samples), len(kept))
    kept[:length] = samples[:length]
    return placed


def _video_frames(
    demuxer: Demuxer, video: av.VideoStream, clock: VideoClock, damage: Damage
) -> Iterator[av.VideoFrame]:
    for packet in demuxer:
        if packet.stream.index == video.index:
            frames = damage.decode(packet)
            clock.add(packet, is_refused=frames is None)
            yield from frames or ()
    damage.num_broken += demuxer.num_failures


def _declared_seconds(stream: av.VideoStream | av.AudioStream | None) -> float:
    """A stream's length according to the header; 0 where unknown."""
    if stream is None or stream.duration is None or stream.time_base is None:
        return 0.0
    if stream.container.format.name in (*_ONE_LENGTH_FORMATS, *_NO_LENGTH_FORMATS):
        return 0.0
    return float(stream.duration * stream.time_base)


def _container_seconds(container: av.container.InputContainer) -> float:
    """The length of the longest stream according to the header; 0 where unknown."""
    return 0.0 if container.format.name in _NO_LENGTH_FORMATS else (container.duration or 0) / av.time_base


def _check_whole(path: Path, what: str, decoded_seconds: float, declared_seconds: float) -> None:
    if decoded_seconds < MIN_INTACT_FRACTION * declared_seconds:
        reason = f"is truncated: {decoded_seconds:.2f} of {declared_seconds:.2f} s of {what} can be decoded"
        raise MediaError(path, "unreadable", reason)


def _check_alone(path: Path, decoded_seconds: float, declared_seconds: float) -> None:
    """What lies behind a video's declared end may be another video, and has no audio."""
    if declared_seconds and decoded_seconds > declared_seconds / MIN_INTACT_FRACTION + MAX_STEP_BACK_SECONDS:
        reason = f"goes on for {decoded_seconds:.2f} s, although it declares {declared_seconds:.2f} s of video"
        raise MediaError(path, "unreadable", reason)


def _check_reach(
    path: Path,
    container: av.container.InputContainer,
    demuxer: Demuxer,
    video: av.VideoStream | None,
    audio: av.AudioStream | None,
) -> None:
    """Where the streams declare no length, the longest one is as long as the file says."""
    if not _declared_seconds(video) and not _declared_seconds(audio):
        _check_whole(path, "it", demuxer.end_seconds, _container_seconds(container))


def _check_colours(path: Path, frame: av.VideoFrame) -> None:
    if not is_convertible(frame):
        raise MediaError(
            path, "unreadable", f"codes its colours in a way that is not known (matrix {frame.colorspace})"
        )
