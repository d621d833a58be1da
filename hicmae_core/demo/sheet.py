"""Pictures to check the demo corpus by eye: a contact sheet of faces, and spectrograms of voices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from hicmae_core.config import SAMPLE_RATE_HZ
from hicmae_core.demo.script import EMOTIONS, ScriptedClip
from hicmae_core.files import atomic_path
from hicmae_core.media.decoding import read_audio, read_frames
from hicmae_core.media.waveform import FRAME_SHIFT_SAMPLES, log_mel

_CELL = 128
_COLUMNS = 8
_MAX_SPEAKERS = 12
_CAPTION = 18
_SPECTROGRAM_SPEAKERS = 3


def draw_contact_sheet(
    labelled: Sequence[ScriptedClip], labelled_dir: Path, unlabelled: Sequence[ScriptedClip], unlabelled_dir: Path
) -> None:
    """Write ``contact_sheet.png`` beside the labelled clips.

    One row per speaker with two takes of each emotion, then a video strip of each emotion, the broken clips
    that show an image, and unlabelled speakers.
    """
    rows: list[tuple[str, list[np.ndarray]]] = []
    sound = [clip for clip in labelled if clip.flaw == "none"]
    speakers = list(dict.fromkeys(clip.speaker.name for clip in sound))
    for name in speakers[:_MAX_SPEAKERS]:
        takes = [
            [clip for clip in sound if clip.speaker.name == name and clip.emotion == emotion][:2]
            for emotion in EMOTIONS
        ]
        pictures = [_frames(labelled_dir / clip.file, 1)[0] for pair in takes for clip in (pair * 2)[:2]]
        rows.append((f"{name}: {', '.join(EMOTIONS)}, two takes each", pictures))
    for index, emotion in enumerate(EMOTIONS):
        clip = next(c for c in sound if c.emotion == emotion and c.speaker.name == speakers[index % len(speakers)])
        rows.append((f"{clip.clip_id} over time", _frames(labelled_dir / clip.file, _COLUMNS)))
    broken = [clip for clip in labelled if clip.flaw in ("no_face", "no_sound", "second_person")]
    pictures = [picture for clip in broken for picture in _frames(labelled_dir / clip.file, 2)]
    rows.append((f"broken on purpose: {', '.join(clip.flaw for clip in broken)}", pictures))
    strangers = list({clip.speaker.name: clip for clip in unlabelled}.values())[: 2 * _COLUMNS]
    for start in range(0, len(strangers), _COLUMNS):
        some = strangers[start : start + _COLUMNS]
        rows.append(("unlabelled, for pre-training", [_frames(unlabelled_dir / clip.file, 1)[0] for clip in some]))
    sheet = np.concatenate([_row(caption, pictures) for caption, pictures in rows])
    with atomic_path(labelled_dir / "contact_sheet.png") as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def draw_spectrograms(labelled: Sequence[ScriptedClip], labelled_dir: Path) -> None:
    """Write ``spectrograms.png`` beside the labelled clips: log-mel features by speaker and emotion."""
    takes: dict[str, dict[str | None, ScriptedClip]] = {}
    for clip in labelled:
        if clip.flaw == "none":
            takes.setdefault(clip.speaker.name, {}).setdefault(clip.emotion, clip)
    chosen = list(takes.items())[:_SPECTROGRAM_SPEAKERS]
    figure = Figure(figsize=(15, 3 * len(chosen)), layout="constrained")
    axes = figure.subplots(len(chosen), len(EMOTIONS), squeeze=False)
    for row, (_, clips) in zip(axes, chosen, strict=True):
        for axis, emotion in zip(row, EMOTIONS, strict=True):
            features = log_mel(read_audio(labelled_dir / clips[emotion].file))
            seconds = len(features) * FRAME_SHIFT_SAMPLES / SAMPLE_RATE_HZ
            extent = (0.0, seconds, 0.0, float(features.shape[1]))
            axis.imshow(features.T, origin="lower", aspect="auto", extent=extent, cmap="magma")
            axis.set(title=clips[emotion].clip_id, xlabel="seconds", ylabel="mel bin")
    with atomic_path(labelled_dir / "spectrograms.png") as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def _frames(path: Path, count: int) -> list[np.ndarray]:
    """`count` frames spread over a clip."""
    frames = [frame for _, frame in read_frames(path)]
    at = np.linspace(0, len(frames) - 1, count + 2).round().astype(int)[1:-1]
    return [frames[index] for index in at.tolist()]


def _row(caption: str, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """A captioned row of images, [caption + cell, columns * cell, 3]."""
    row = np.full((_CAPTION + _CELL, _COLUMNS * _CELL, 3), 255, np.uint8)
    cv2.putText(row, caption, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    for column, picture in enumerate(pictures[:_COLUMNS]):
        cell = cv2.resize(picture, (_CELL, _CELL), interpolation=cv2.INTER_AREA)
        row[_CAPTION:, column * _CELL : (column + 1) * _CELL] = cell
    return row
