"""Small videos in many containers that can be told apart: each image shows its film's and its own number.

Under a face, four rows of eight black and white blocks spell the film's number, the frame's number and a checksum of
both, so that a damaged image is not mistaken for another one. The audio is a chord of two tones whose
ratio is the film's own, so that a wrong sample rate is not mistaken for another video.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from tests.media.films import picture

FPS = 25
NUM_FRAMES = 20
SIDE = 160
RATE = 44_100

_ROW, _BLOCK, _STRIP = 10, SIDE // 8, 40
_LOW_HERTZ = 400.0
_LEGIBLE = 90


@dataclass(frozen=True)
class Container:
    """A file format and its codecs; no image where `video` is empty."""

    suffix: str
    format: str
    video: str
    audio: str
    options: tuple[tuple[str, str], ...] = ()


CONTAINERS = (
    Container("mp4", "mp4", "libx264", "aac", (("movflags", "faststart"),)),
    Container("mov", "mov", "mjpeg", "pcm_s16le"),
    Container("mkv", "matroska", "libx264", "ac3"),
    Container("webm", "webm", "libvpx-vp9", "libopus"),
    Container("avi", "avi", "mpeg4", "libmp3lame"),
    Container("flv", "flv", "flv", "libmp3lame"),
    Container("ts", "mpegts", "libx264", "aac"),
    Container("mpg", "mpeg", "mpeg1video", "mp2"),
    Container("wmv", "asf", "msmpeg4", "wmav2"),
    Container("wav", "wav", "", "pcm_s16le"),
    Container("m4a", "ipod", "", "aac"),
)


def write_sources(folder: Path) -> list[tuple[Path, Path]]:
    """Two videos per container; video ``2 i + j`` is video j of container i."""
    return [
        (
            write_coded_film(folder / f"{number}.{container.suffix}", 2 * number, container),
            write_coded_film(folder / f"{number}_other.{container.suffix}", 2 * number + 1, container),
        )
        for number, container in enumerate(CONTAINERS)
    ]


@cache
def coded_frame(film: int, frame: int) -> np.ndarray:
    """The image that shows both numbers, RGB uint8 ``[160, 160, 3]``."""
    head = (SIDE / 2 + 10 * np.sin(film), 62 + 4 * np.sin(frame / 5), 80.0)
    image = picture([head], SIDE, SIDE)
    for row, value in enumerate(_code(film, frame)):
        bits = (value >> np.arange(8)) & 1
        top = SIDE - _STRIP + row * _ROW
        image[top : top + _ROW] = np.repeat(bits, _BLOCK)[None, :, None] * 255
    return image


def read_code(image: np.ndarray) -> tuple[int, int] | None:
    """Film and frame that an image shows; None where it is not legible."""
    if image.shape != (SIDE, SIDE, 3):
        return None
    blocks = image[SIDE - _STRIP :].reshape(4, _ROW, 8, _BLOCK, 3)[:, 2:-2, :, 3:-3].mean((1, 3, 4))
    if (np.abs(blocks - 127.5) < 127.5 - _LEGIBLE).any():
        return None
    film, frame, *check = ((blocks > 127.5) * (1 << np.arange(8))).sum(1).tolist()
    return (film, frame) if (film, frame, *check) == _code(film, frame) else None


def chord(film: int, seconds: float) -> np.ndarray:
    """The film's audio, float32 at 44.1 kHz."""
    time = np.arange(round(seconds * RATE)) / RATE
    low, high = (np.sin(2 * np.pi * hertz * time) for hertz in (_LOW_HERTZ, _LOW_HERTZ * _ratio(film)))
    return (0.4 * low + 0.3 * high).astype(np.float32)


def read_chord(sound: np.ndarray) -> int | None:
    """The video that 16 kHz audio belongs to; None where it is not two clear tones."""
    if len(sound) < 4000:
        return None
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    peaks = []
    for _ in range(3):
        peak = int(spectrum.argmax())
        peaks.append((float(spectrum[peak]), peak))
        spectrum[max(0, peak - 8) : peak + 9] = 0
    (_, first), (second_height, second), (third_height, _) = peaks
    if second_height < 3 * third_height or min(first, second) == 0:
        return None
    film = round((max(first, second) / min(first, second) - 1.2) / 0.04)
    return film if 0 <= film < 2 * len(CONTAINERS) else None


def write_coded_film(path: Path, film: int, container: Container, num_frames: int = NUM_FRAMES) -> Path:
    """Write one video."""
    with av.open(str(path), "w", format=container.format, options=dict(container.options)) as output:
        sharp = {} if container.video.startswith("lib") else {"qmax": "2", "mbd": "rd"}
        video = output.add_stream(container.video, rate=FPS, options=sharp) if container.video else None
        audio = output.add_stream(container.audio, rate=48_000 if container.audio == "libopus" else RATE)
        audio.layout, audio.bit_rate = "mono", 96_000
        if video is not None:
            video.width = video.height = SIDE
            video.pix_fmt = "yuvj420p" if container.video == "mjpeg" else "yuv420p"
            video.bit_rate = 1_000_000
            for number in range(num_frames):
                frame = av.VideoFrame.from_ndarray(coded_frame(film, number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        _encode_sound(output, audio, chord(film, num_frames / FPS))
    return path


def _encode_sound(output: av.container.OutputContainer, stream: av.AudioStream, samples: np.ndarray) -> None:
    context = stream.codec_context
    resampler = av.AudioResampler(context.format, "mono", context.sample_rate, context.frame_size or 1024)
    whole = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    whole.sample_rate, whole.pts, whole.time_base = RATE, 0, Fraction(1, RATE)
    for frame in (*resampler.resample(whole), *resampler.resample(None)):
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _code(film: int, frame: int) -> tuple[int, ...]:
    return film, frame, *divmod(zlib.crc32(bytes([film, frame])) & 0xFFFF, 256)


def _ratio(film: int) -> float:
    return 1.2 + 0.04 * film
