"""Pictures and sound out of media files, on one clock.

The clock's zero is the first video frame that decodes. Frame k of `read_frames` is the picture shown at ``k / fps``
seconds and sample n of `read_audio` sounds at ``n / 16000`` seconds, so frame indices and sample indices convert into
each other by the two rates alone, whatever the container says about late or early starts. Both end where the video's
packets end: there are ``num_frames / fps`` seconds of audio, whatever length the header declares.
"""

from __future__ import annotations

import collections
import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from hicmae_core.config import SAMPLE_RATE_HZ
from hicmae_core.media.colours import is_convertible
from hicmae_core.media.opening import (
    MAX_GAP_SECONDS,
    MAX_STEP_BACK_SECONDS,
    MediaError,
    audio_stream,
    check_length,
    opened,
    video_stream,
)
from hicmae_core.media.packets import MIN_INTACT_FRACTION, Damage, Demuxer
from hicmae_core.media.pictures import Display, Picture
from hicmae_core.media.waveform import Waveform

MAX_FRAME_RATE = 500
"""No camera films faces faster; a rate of 1000 is the millisecond clock of Matroska and FLV in the wrong place."""
MAX_SECONDS = 3600.0
"""Sound is held in memory as a whole: 230 MB an hour."""

_ONE_LENGTH_FORMATS = ("asf", "flv", "matroska,webm")
"""Formats that declare the length of the longest stream alone; FFmpeg may say that it is each stream's."""
_NO_LENGTH_FORMATS = ("aac", "mp3")
"""Formats whose length FFmpeg guesses from the first bytes, up to 27 times too long."""


@dataclass(frozen=True)
class MediaInfo:
    """What a file's header declares. The picture's values are 0 where there is no video.

    Attributes:
        fps: Mean frames per second.
        num_frames: Frames as declared; counted where the header does not tell.
        duration_seconds: Length of the longest stream; 0 where the header does not tell.
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
    """Read a file's header and its first frame, and all of its timestamps if the header does not count the frames.

    Raises:
        MediaError: If the file is missing, empty or not decodable, or has neither video nor sound.
    """
    with opened(path) as container:
        video, audio = video_stream(path, container), audio_stream(path, container)
        if video is None and audio is None:
            raise MediaError(path, "unreadable", "holds neither video nor sound")
        duration = max(_declared_seconds(video), _declared_seconds(audio), _container_seconds(container))
        if video is None:
            if container.format.name in _NO_LENGTH_FORMATS:
                demuxer = Demuxer(container, audio)
                collections.deque(demuxer, maxlen=0)
                duration = demuxer.end_seconds
            return MediaInfo(0.0, 0, duration, 0, 0, has_video=False, has_audio=True)
        clock = _VideoClock(path, video)
        is_counted = bool(video.frames or _declared_seconds(video))
        for packet in Demuxer(container, video):
            clock.peek(packet)
            if clock.has_begun and is_counted:
                break
        frame = clock.first_frame()
        picture = Picture(frame, display=Display.of(video, frame))
        declared = video.frames or round(_declared_seconds(video) * clock.fps)
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
    """`read_pictures` as pixels: seconds since the first frame, and RGB uint8 ``[height, width, 3]``."""
    for at, picture in read_pictures(path):
        yield at, picture.rgb()


def read_pictures(
    path: Path, max_seconds: float = math.inf, damage: Damage | None = None
) -> Iterator[tuple[float, Picture]]:
    """Decode a video at its mean frame rate, a frame at a time.

    A variable frame rate becomes constant: frame k is the one nearest to ``k / fps`` in time, so frames may come
    twice or be left out. At a constant rate every frame comes exactly once. A frame that does not decode costs itself:
    a neighbour is shown in its place.

    Args:
        path: A video file.
        max_seconds: Decoding stops with an error once the video turns out to be longer.
        damage: Counts what does not decode; complete when the last picture has come.

    Yields:
        Seconds since the first frame, and the picture.

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
        clock, demuxer = _VideoClock(path, video), Demuxer(container, video, audio)
        frame_seconds = clock.frame_seconds
        converter, display = VideoReformatter(), Display()
        next_index = 0
        shown: Picture | None = None
        shown_at = 0.0
        for frame, at in clock.timed(_video_frames(demuxer, video, clock, damage)):
            check_length(path, at, max_seconds)
            _check_colours(path, frame)
            while shown is not None and next_index * frame_seconds < (shown_at + at) / 2:
                yield next_index * frame_seconds, shown
                next_index += 1
            if shown is None or frame.rotation != shown.frame.rotation:
                display = Display.of(video, frame)
            shown, shown_at = Picture(frame, converter, display), at
        damage.check(path)
        if shown is None:
            raise MediaError(path, "no_video", "has a video stream without a single frame")
        num_pictures = clock.num_pictures()
        check_length(path, clock.end, max_seconds)
        _check_whole(path, "video", shown_at + frame_seconds, max(declared_seconds, clock.end))
        _check_alone(path, shown_at + frame_seconds, declared_seconds)
        _check_reach(path, container, demuxer, video, audio)
        while next_index < num_pictures:
            yield next_index * frame_seconds, shown
            next_index += 1


def read_audio(path: Path, max_seconds: float = MAX_SECONDS, damage: Damage | None = None) -> np.ndarray:
    """Decode a file's sound, mixed down to mono at 16 kHz, for as long as its video runs.

    Sample 0 belongs to the first video frame: sound that starts late is padded with zeros, sound that starts early
    is cut, and likewise at the end of the video: `read_pictures` shows ``fps * num_samples / 16000`` frames. In a file
    without video it is all of the sound. Where sound is missing there is silence.

    Args:
        path: A file with sound.
        max_seconds: Longer sound, or sound to a longer video, is refused before it fills the memory.
        damage: Counts what does not decode.

    Returns:
        float32 ``[num_samples]`` in [-1, 1]. The same samples as ``ffmpeg -ac 1 -ar 16000``.

    Raises:
        MediaError: If there is no sound, it is damaged by more than a tenth, too long, or ends well before its declared
            length.
    """
    damage = damage or Damage("audio")
    with opened(path) as container:
        video, audio = video_stream(path, container), audio_stream(path, container)
        if audio is None:
            raise MediaError(path, "no_sound", "has no sound stream")
        check_length(path, max(_declared_seconds(video), _declared_seconds(audio)), max_seconds)
        clock = None if video is None else _VideoClock(path, video)
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
            raise MediaError(path, "no_sound", "has a sound stream without a single sample")
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
    demuxer: Demuxer, video: av.VideoStream, clock: _VideoClock, damage: Damage
) -> Iterator[av.VideoFrame]:
    for packet in demuxer:
        if packet.stream.index == video.index:
            frames = damage.decode(packet)
            clock.add(packet, is_refused=frames is None)
            yield from frames or ()
    damage.num_broken += demuxer.num_failures


class _VideoClock:
    """The frame rate of a video, its start, and its end by the timestamps of its packets, which need no decoding.

    Attributes:
        fps: Frames per second.
        frame_seconds: Seconds per frame.
        start: Time of the first frame on the container's clock, seconds; None while no frame has told.
        end: Time of the last frame, seconds since the first; known after `num_pictures`.
    """

    def __init__(self, path: Path, video: av.VideoStream) -> None:
        self.fps = _frame_rate(path, video)
        self.frame_seconds = 1 / float(self.fps)
        self.start: float | None = None
        self.end = 0.0
        self._path = path
        self._times: list[float] = []
        self._first: av.VideoFrame | None = None
        self._first_damage = Damage("video")
        self._video = video
        self._tick = float(video.time_base or 0)  # a fraction is slow
        self._is_avi = video.container.format.name == "avi"
        self._due: list[float] = []

    def add(self, packet: av.Packet, is_refused: bool = False) -> None:
        """Take note of a packet's time, unless it only serves to decode others, as before an edit list's start."""
        if not packet.size or packet.is_discard:
            return
        timestamp = packet.dts if packet.pts is None or self._is_avi else packet.pts
        if timestamp is not None:
            self._times.append(timestamp * self._tick)
        else:
            self._times.append(self._times[-1] + self.frame_seconds if self._times else 0.0)
        if self._is_avi and not is_refused:
            heapq.heappush(self._due, self._times[-1])

    @property
    def has_begun(self) -> bool:
        """Whether `peek` has found a frame."""
        return self._first is not None

    def peek(self, packet: av.Packet) -> None:
        """`add` a packet, and decode it if it may hold the first frame."""
        if self.has_begun:
            self.add(packet)
            return
        frames = self._first_damage.decode(packet)
        self.add(packet, is_refused=frames is None)
        if frames:
            self._first = frames[0]
            self.start = self._time_of(frames[0])

    def first_frame(self) -> av.VideoFrame:
        """What `peek` has found.

        Raises:
            MediaError: If there was no frame.
        """
        if self._first is None:
            self._first_damage.check(self._path)
            raise MediaError(self._path, "no_video", "has a video stream without a single frame")
        return self._first

    def timed(self, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames with their times, in seconds since the first; a frame without a time follows the one before."""
        latest = -self.frame_seconds
        for frame in frames:
            at, time = latest + self.frame_seconds, self._time_of(frame)
            if time is not None:
                self.start = time - at if self.start is None else self.start
                at = time - self.start
            self._check_step(latest, at)
            latest = max(latest, at)  # the one bound on all steps back
            yield frame, latest

    def num_pictures(self) -> int:
        """Frames at the constant rate, from the first that decodes to the last of which there is a packet."""
        times = sorted(self._times) or [0.0]
        start = times[0] if self.start is None else self.start
        for before, after in pairwise(times):
            self._check_step(before - start, after - start)
        self.end = max(times[-1] - start, 0.0)
        return math.ceil(self.end / self.frame_seconds + 0.5)

    def _time_of(self, frame: av.VideoFrame) -> float | None:
        """When the next frame is shown. AVI only tells the times of packets: the earliest one that is left is it."""
        if self._is_avi and self._video.codec_context.has_b_frames:
            return heapq.heappop(self._due) if self._due else None
        return frame.time

    def _check_step(self, before: float, after: float) -> None:
        if not math.isfinite(after) or not -MAX_STEP_BACK_SECONDS <= after - before <= MAX_GAP_SECONDS:
            reason = f"its frame times jump from {before:.1f} s to {after:.1f} s"
            raise MediaError(self._path, "unreadable", reason)


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


def _frame_rate(path: Path, video: av.VideoStream) -> Fraction:
    rates = (video.average_rate, video.guessed_rate)
    for rate in rates:
        if rate and 0 < rate <= MAX_FRAME_RATE:
            return Fraction(rate)
    raise MediaError(path, "unreadable", f"its frame rate of {rates[0] or 'unknown'} is not one of a video")


def _check_whole(path: Path, what: str, decoded_seconds: float, declared_seconds: float) -> None:
    if decoded_seconds < MIN_INTACT_FRACTION * declared_seconds:
        reason = f"is truncated: {decoded_seconds:.2f} of {declared_seconds:.2f} s of {what} can be decoded"
        raise MediaError(path, "unreadable", reason)


def _check_alone(path: Path, decoded_seconds: float, declared_seconds: float) -> None:
    """What lies behind a film's declared end may be another film, and has no sound."""
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
