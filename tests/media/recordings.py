"""Videos with clicks at known times, and remuxing that drops, moves or harms single packets."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.media.coded_films import FPS, SIDE, Container, coded_frame

CLICK_HERTZ = 2000
_CLICK_SECONDS = 0.02


def clicks(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """A short tone at each half second from 0.25 on over faint noise, float32 ``[channels, samples]``."""
    time = np.arange(round(seconds * rate)) / rate
    sounding = (time % 0.5 >= 0.25) & (time % 0.5 < 0.25 + _CLICK_SECONDS)
    quiet = np.random.default_rng(0).normal(0, 0.003, len(time))  # no two packets are the same
    wave = np.where(sounding, 0.8 * np.sin(2 * np.pi * CLICK_HERTZ * time), quiet)
    return np.repeat(wave[None], channels, 0).astype(np.float32)


def click_times(audio: np.ndarray) -> np.ndarray:
    """When clicks begin in 16 kHz audio, seconds."""
    loud = np.flatnonzero(np.abs(audio) > 0.25) / 16_000
    return loud[np.diff(loud, prepend=-1) > 0.1]


def write_recording(
    path: Path,
    container: Container,
    num_frames: int,
    audio_seconds: float,
    rate: int = 48_000,
    layout: str = "mono",
    key_distance: int | None = None,
) -> Path:
    """Numbered frames of video 0 at 25 a second, with key frames `key_distance` apart if that is given, and clicks."""
    with av.open(str(path), "w", format=container.format, options=dict(container.options)) as output:
        video = output.add_stream(container.video, rate=FPS) if container.video and num_frames else None
        audio = output.add_stream(container.audio, rate=rate)
        audio.layout, audio.bit_rate = layout, 128_000
        if video is not None:
            video.width = video.height = SIDE
            video.pix_fmt = "yuvj420p" if container.video == "mjpeg" else "yuv420p"
            video.bit_rate = 1_500_000
            if key_distance is not None:
                video.gop_size = key_distance
            for number in range(num_frames):
                frame = av.VideoFrame.from_ndarray(coded_frame(0, number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        encode_audio(output, audio, clicks(audio_seconds, rate, audio.codec_context.layout.nb_channels))
    return path


def encode_audio(
    output: av.container.OutputContainer, stream: av.AudioStream, samples: np.ndarray, start: float = 0.0
) -> None:
    """Encode ``[channels, samples]`` at the stream's rate from a time on."""
    context = stream.codec_context
    rate = context.sample_rate
    resampler = av.AudioResampler(context.format, context.layout, rate, context.frame_size or 1024)
    whole = av.AudioFrame.from_ndarray(samples, format="fltp", layout=context.layout)
    whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
    for frame in (*resampler.resample(whole), *resampler.resample(None)):
        frame.pts += round(start * rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def remux(
    source: Path, target: Path, container: Container, change: Callable[[str, int, av.Packet], av.Packet | None]
) -> Path:
    """Write the packets of a file anew, each as `change` returns it for its stream's type and its number, or not."""
    with av.open(str(source)) as read, av.open(str(target), "w", format=container.format) as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in read.streams}
        counts = dict.fromkeys(streams, 0)
        for packet in read.demux():
            if not packet.size:
                continue
            index = packet.stream.index
            changed = change(packet.stream.type, counts[index], packet)
            counts[index] += 1
            if changed is not None:
                changed.stream = streams[index]
                output.mux(changed)
    return target


def harmed(packet: av.Packet) -> av.Packet:
    """The packet with noise for its content."""
    noise = av.Packet(np.random.default_rng(0).bytes(packet.size))
    noise.pts, noise.dts, noise.time_base = packet.pts, packet.dts, packet.time_base
    noise.duration, noise.is_keyframe = packet.duration, packet.is_keyframe
    return noise
