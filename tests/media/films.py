"""Small real video files for the tests: a real face over a real background, with audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from skimage.data import astronaut

FPS = 25
_CLOCK = 12_800
HEAD = astronaut()[0:200, 130:320]
"""A head; CenterFace's box of it has this centre and height."""
HEAD_CENTRE = np.array([94.6, 115.7])
HEAD_BOX_HEIGHT = 119.4


def background(width: int = 320, height: int = 240) -> np.ndarray:
    """A smooth coloured image without a face."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([90 + 60 * np.sin(x / 40), 110 + 50 * np.cos(y / 30), 120 + 0 * x], -1).astype(np.uint8)


def picture(heads: Sequence[tuple[float, float, float]], width: int = 320, height: int = 240) -> np.ndarray:
    """Heads over the background, each given by its box's centre x, y and height in pixels."""
    image = background(width, height)
    for x, y, box_height in heads:
        scale = box_height / HEAD_BOX_HEIGHT
        to_picture = np.array([[scale, 0, x - scale * HEAD_CENTRE[0]], [0, scale, y - scale * HEAD_CENTRE[1]]])
        mask = cv2.warpAffine(np.full(HEAD.shape[:2], 255, np.uint8), to_picture, (width, height))
        head = cv2.warpAffine(HEAD, to_picture, (width, height), flags=cv2.INTER_LINEAR)
        image = np.where(mask[..., None] > 127, head, image)
    return image


def talking_head(num_frames: int = 50) -> tuple[list[np.ndarray], np.ndarray]:
    """A head that drifts and nods; also its true centres ``[num_frames, 2]``."""
    t = np.arange(num_frames) / FPS
    centres = np.stack([150 + 25 * np.sin(2 * t), 115 + 12 * np.sin(3 * t)], 1)
    return [picture([(x, y, 90)]) for x, y in centres], centres


def tone(seconds: float, rate: int = 44_100, hertz: float = 440, amplitude: float = 0.5) -> np.ndarray:
    """A sine, float32."""
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_full_hd(path: Path, seconds: float) -> Path:
    """A head that goes to and fro in 1920 x 1080; 155 MB a second when decoded."""
    heads = [picture([(900 + 4 * k, 500, 300)], 1920, 1080) for k in range(15)]
    to_and_fro = [*heads, *heads[::-1]]
    return write_film(path, (to_and_fro[k % len(to_and_fro)] for k in range(round(seconds * FPS))))


def write_film(
    path: Path,
    frames: Iterable[np.ndarray],
    sound: np.ndarray | None = None,
    rate: int = 44_100,
    sound_delay_seconds: float = 0.0,
    frame_seconds: Sequence[float] | None = None,
) -> Path:
    """Write H.264 video, with AAC audio if there is any, into an mp4 whose index comes first.

    Args:
        path: File to write.
        frames: RGB uint8 images.
        audio: Mono float samples.
        rate: Their rate, Hz.
        sound_delay_seconds: When the audio starts after the first frame.
        frame_seconds: Times of the frames; 25 per second if not given.
    """
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "14", "preset": "veryfast"})
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, _CLOCK)
        audio = None if sound is None else container.add_stream("aac", rate=rate, layout="mono")
        for index, image in enumerate(frames):
            if index == 0:
                video.height, video.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = Fraction(1, _CLOCK)
            frame.pts = round((index / FPS if frame_seconds is None else frame_seconds[index]) * _CLOCK)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            for start in range(0, len(sound), 1024):
                frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
                frame.rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start + round(sound_delay_seconds * rate)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path
