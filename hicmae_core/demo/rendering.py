"""From a scripted clip to an ``.mp4`` file: H.264 and AAC, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from hicmae_core.config import SAMPLE_RATE_HZ
from hicmae_core.demo.face import FRAME_SIZE, FaceRenderer, Pose, backdrop, lighting, place, to_bytes
from hicmae_core.demo.performance import FRAME_RATE_HZ, FaceTracks, Syllables, act, speak, tone_of
from hicmae_core.demo.script import ScriptedClip, Speaker
from hicmae_core.demo.voice import synthesise
from hicmae_core.files import atomic_path

_X264 = {"preset": "ultrafast", "crf": "21", "threads": "1"}
_AUDIO_BIT_RATE = 64_000
_AUDIO_PACKET = 1024
_GRAIN = 2.5
_TRUNCATED_SHARE = 0.6
_COMPANION_POSE = Pose(x=-78, y=26, roll=0, scale=0.48)


class Studio:
    """Films clips, one after another, and keeps the renderer of the speaker it filmed last."""

    def __init__(self) -> None:
        self._renderers: dict[str, FaceRenderer] = {}

    def render(self, clip: ScriptedClip, out_dir: Path) -> None:
        """Write `clip` under `out_dir`, whole or not at all; a broken clip gets its flaw."""
        path = out_dir / clip.file
        if clip.flaw == "zero_byte":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            return
        generator = clip.generator
        tone = tone_of(clip, generator)
        syllables = speak(clip.num_frames, tone, generator)
        sound = synthesise(clip.num_frames, clip.speaker, tone, syllables, generator)
        frames = self._frames(clip, syllables, generator)
        with atomic_path(path) as temporary:
            write_mp4(temporary, frames, None if clip.flaw == "no_sound" else sound)
            if clip.flaw == "truncated":
                content = temporary.read_bytes()
                temporary.write_bytes(content[: int(len(content) * _TRUNCATED_SHARE)])

    def _frames(self, clip: ScriptedClip, syllables: Syllables, generator: np.random.Generator) -> Iterator[np.ndarray]:
        tracks = act(clip, syllables, generator)
        room, light = backdrop(generator), lighting(generator)
        grain = generator.normal(scale=_GRAIN / 255, size=(FRAME_SIZE + 32, FRAME_SIZE + 32, 3)).astype(np.float32)
        shifts = generator.integers(32, size=(clip.num_frames, 2)).tolist()
        if clip.companion is not None:
            room = place(FaceRenderer(clip.companion).at_rest(), _COMPANION_POSE, room)
            tracks = replace(tracks, poses=[_aside(pose) for pose in tracks.poses])
        renderer = self._renderer(clip.speaker)
        for index, (top, left) in enumerate(shifts):
            picture = room if clip.flaw == "no_face" else _shot(renderer, tracks, index, room)
            noise = grain[top : top + FRAME_SIZE, left : left + FRAME_SIZE]
            yield to_bytes(picture * light + noise)

    def _renderer(self, speaker: Speaker) -> FaceRenderer:
        if speaker.name not in self._renderers:
            self._renderers = {speaker.name: FaceRenderer(speaker)}
        return self._renderers[speaker.name]


def _aside(pose: Pose) -> Pose:
    """A pose that leaves room for a smaller person on the left."""
    return replace(pose, x=pose.x + 34, y=pose.y + 16, scale=pose.scale * 0.8)


def _shot(renderer: FaceRenderer, tracks: FaceTracks, index: int, room: np.ndarray) -> np.ndarray:
    face = renderer.draw(tracks.movements[index], float(tracks.mouth[index]), float(tracks.lids[index]))
    return place(face, tracks.poses[index], room)


def write_mp4(path: Path, frames: Iterator[np.ndarray], sound: np.ndarray | None) -> None:
    """Encode RGB frames and mono 16 kHz audio (None for a silent video without an audio track)."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE_HZ, options=_X264)
        video.width = video.height = FRAME_SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.flags |= av.codec.context.Flags.bitexact
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
            audio.bit_rate = _AUDIO_BIT_RATE
            audio.codec_context.flags |= av.codec.context.Flags.bitexact
        for pixels in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            for start in range(0, len(sound), _AUDIO_PACKET):
                samples = av.AudioFrame.from_ndarray(sound[None, start : start + _AUDIO_PACKET], "fltp", "mono")
                samples.sample_rate = SAMPLE_RATE_HZ
                samples.time_base = Fraction(1, SAMPLE_RATE_HZ)
                samples.pts = start
                container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
