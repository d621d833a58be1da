"""What is said of a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hicmae_core.config import Modality

MODEL_KEY = "model_sha256"
"""What written answers and features call the SHA-256 of the model's file: their way back to its training."""


@dataclass(frozen=True)
class Answer:
    """The answer to one video, or to one face of it.

    Attributes:
        status: ``ok``, ``damaged``, ``low_coverage``, ``frozen_face`` or ``low_share`` (answered); otherwise why not:
            ``unsure`` (see `VideoReader.abstaining`), ``no_face``, ``short_face``, ``no_sound``, ``no_video``,
            ``unreadable``, ``too_long``, ``missing``, ``zero_byte``, ``crashed``.
        reason: A sentence where the status is not ``ok``, or where a modality that the model reads is missing.
        values: Probabilities over the whole clip by class (``<target> <class>`` where there are several targets), or
            outputs by target; empty without an answer.
        windows: The same for each window of the timeline: ``start_seconds``, ``end_seconds``, ``values``.
        face: Number of the face in its video, from 1.
        start_seconds: When the face appears; 0 unless each face is answered by itself.
        end_seconds: When it ends.
        used: ``both``, or the modality alone, ``video`` or ``audio``, that the answer comes from; empty without one.
        box: Median left, top, right and bottom of the face's square, pixels; empty if the model does not look.
    """

    status: str
    reason: str = ""
    values: dict[str, float] = field(default_factory=dict)
    windows: list[dict[str, Any]] = field(default_factory=list)
    face: int = 1
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    used: Modality | Literal[""] = ""
    box: tuple[float, ...] = ()
