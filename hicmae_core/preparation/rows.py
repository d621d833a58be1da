"""One clip's files in, its rows of a shard out, under a key of everything that determines them.

The code here and what it uses of `media` determine what is stored.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import stat
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import overload

import av
import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy
import torch
import torchaudio

from hicmae_core.code import code_of
from hicmae_core.config import NUM_MEL_BINS, SAMPLE_RATE_HZ, FacePolicy, FacesParams
from hicmae_core.files import fingerprint
from hicmae_core.media.decoding import read_audio
from hicmae_core.media.detection import Detector, make_detector
from hicmae_core.media.faces import extract_faces, frame_folder_face
from hicmae_core.media.frame_folder import folder_state
from hicmae_core.media.opening import MediaError
from hicmae_core.media.packets import Damage
from hicmae_core.media.waveform import log_mel
from hicmae_core.preparation.pool import ClipFailure, ClipFiles
from hicmae_core.preparation.writing import batch_of
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA

_HERE = Path(__file__)
_FORMAT = (SAMPLE_RATE_HZ, NUM_MEL_BINS)
_VERSIONS = [av.__version__, cv2.__version__, np.__version__, scipy.__version__]


def faces_fingerprint(faces: FacesParams, policy: FacePolicy, max_seconds: float) -> str:
    """A name for all that `faces_batch` depends on but the clip's file: settings, weights, code and libraries.

    Raises:
        ValueError: If the detector cannot be made.
    """
    backend = [] if faces.weights is None else [importlib.metadata.version("face-alignment"), torch.__version__]
    weights = make_detector(faces).weights
    settings = faces.model_copy(update={"weights": None})
    code = code_of("media.faces", "media.detection")
    return fingerprint("faces", settings, weights, policy, max_seconds, _HERE, code, _VERSIONS, backend)


def audio_fingerprint(max_seconds: float) -> str:
    """A name for all that `audio_batch` depends on but the clip's file, as `faces_fingerprint`."""
    code = code_of("media.decoding", "media.waveform")
    versions = [*_VERSIONS, torch.__version__, torchaudio.__version__]
    return fingerprint("audio", max_seconds, _FORMAT, _HERE, code, versions)


def faces_batch(clip: ClipFiles, faces: FacesParams, policy: FacePolicy, max_seconds: float, device: str) -> bytes:
    """The faces of one clip, of `FACES_SCHEMA`: one row, or one for each face with policy ``all``; serialised."""
    if os.path.isdir(clip.video):  # False, too, in a folder that may not be searched
        tracks = [frame_folder_face(clip.video, clip.audio, clip.fps, faces, max_seconds)]
    else:
        tracks = extract_faces(clip.video, faces, policy, _detector(faces, device), max_seconds)
    several = policy == "all" and tracks[0].usable
    rows = [
        {
            "clip_id": f"{clip.clip_id}#{number}" if several else clip.clip_id,
            "source": clip.clip_id,
            "status": track.status,
            "reason": track.reason.removeprefix(f"{clip.video}: "),
            "fps": track.fps,
            "num_frames": len(track.frames),
            "start_seconds": track.start_seconds,
            "coverage": track.coverage,
            "share": track.share,
            "face_size": track.face_size,
            "num_faces": track.num_faces,
            "digest": _digest(track.frames),
            "key": clip.key,
            "frames": track.frames,
        }
        for number, track in enumerate(tracks, 1)
    ]
    result: bytes = batch_of(rows, FACES_SCHEMA).serialize().to_pybytes()
    return result


def audio_batch(clip: ClipFiles, max_seconds: float) -> bytes:
    """The log-mel features of one clip, of `AUDIO_SCHEMA`; serialised."""
    row = {"clip_id": clip.clip_id, "key": clip.key, "num_samples": 0, "digest": ""}
    try:
        damage = Damage("audio")
        waveform = read_audio(clip.audio, max_seconds, damage)
        features = log_mel(waveform).astype(np.float16)
        if not len(features):
            reason = f"{len(waveform)} samples of audio, less than one 25 ms window"
            raise MediaError(clip.audio, "no_sound", reason)
        samples = (waveform * 32768).round().astype(np.int16)
        row |= {"num_samples": len(waveform), "digest": _digest([samples.tobytes()]), "fbank": features}
        if damage.reason:
            row |= {"status": "damaged", "reason": damage.reason}
    except MediaError as error:
        row |= {"status": error.status, "reason": error.reason}
    result: bytes = batch_of([row], AUDIO_SCHEMA).serialize().to_pybytes()
    return result


def failed_batch(clip_id: str, key: str, failure: ClipFailure, schema: pa.Schema) -> pa.RecordBatch:
    """The row of a clip on which a worker failed."""
    numbers = {field.name: 0 for field in schema if pa.types.is_primitive(field.type)}
    row = {"clip_id": clip_id, "status": failure.status, "reason": failure.reason, "digest": "", "key": key}
    return batch_of([{**numbers, **row}], schema)


@cache
def _detector(faces: FacesParams, device: str) -> Detector:
    return make_detector(faces, device)


def _digest(pieces: Iterable[bytes]) -> str:
    """SHA-256 of byte strings one after the other; empty if there are none."""
    content = hashlib.sha256()
    empty = True
    for piece in pieces:
        content.update(piece)
        empty = False
    return "" if empty else content.hexdigest()


def wanted_clips(manifest: pd.DataFrame, root: Path, settings: str, path: str, digest: str) -> pd.DataFrame:
    """The clips of a manifest whose status is ``ok``.

    Args:
        manifest: The clips.
        root: Folder that the manifest's paths are relative to.
        settings: Fingerprint of all that determines a clip's rows but its file.
        path: The column of the file that determines a clip's rows.
        digest: The column of that file's SHA-256; where it is null, size and time of the file take its place.

    Returns:
        ``clip_id, video_path, audio_path, path, fps`` and ``key``, sorted by clip id. A clip without an audio file of
        its own has its video's. Face frames have no rate in their files: the manifest's determines the rows, or the
        file with the audio, where the manifest has none.

    Raises:
        ValueError: If a clip id comes twice, or no clip of the manifest is ``ok``.
    """
    clips = manifest[manifest["status"] == "ok"].sort_values("clip_id", ignore_index=True)
    if clips.empty and len(manifest):
        raise ValueError("nothing to prepare: the manifest has no clip with status ok")
    twice = clips["clip_id"][clips["clip_id"].duplicated()]
    if len(twice):
        raise ValueError(f"clip id {twice.iloc[0]!r} comes twice; clip ids must be unique")
    clips["audio_path"] = clips["audio_path"].fillna(clips["video_path"])
    rates = clips["fps"] if "fps" in clips else pd.Series(float("nan"), clips.index)
    cells = zip(clips[path], clips[digest], rates, clips["audio_path"], strict=True)
    keys = pd.Series([_key(settings, _content(root, *row)) for row in cells], clips.index, dtype="str")
    columns = clips[["clip_id", "video_path", "audio_path"]]
    return pd.DataFrame({**columns, "path": clips[path], "fps": rates, "key": keys})


class ClipSequence(Sequence[ClipFiles]):
    """Rows of `wanted_clips` as what a runner takes; a million of them as objects would fill the memory."""

    def __init__(self, clips: pd.DataFrame, root: Path) -> None:
        self._clips, self._root = clips, root
        self._columns = [clips[name].array for name in ("clip_id", "video_path", "audio_path", "key", "fps")]

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> ClipFiles: ...
    @overload
    def __getitem__(self, index: slice) -> ClipSequence: ...
    def __getitem__(self, index: int | slice) -> ClipFiles | ClipSequence:
        if isinstance(index, slice):
            return ClipSequence(self._clips.iloc[index], self._root)
        clip_id, video, audio, key, fps = (column[index] for column in self._columns)
        return ClipFiles(clip_id, self._root / video, self._root / audio, key, None if pd.isna(fps) else float(fps))


def _key(settings: str, content: str) -> str:
    return hashlib.sha256(f"{settings} {content}".encode()).hexdigest()


def _content(root: Path, file: str, sha256: str | None, fps: float, audio: str) -> str:
    """What stands for all that a clip's rows depend on but the settings."""
    content = _state(root, file) if pd.isna(sha256) else str(sha256)
    if not pd.isna(fps):
        return f"{content} {fps}"
    return f"{content} {_state(root, audio)}" if pd.isna(sha256) and os.path.isdir(root / file) else content


def _state(root: Path, file: str) -> str:
    """What stands for the content of a file, or of a folder of frames, whose digest is unknown."""
    try:
        state = os.stat(root / file)
        if stat.S_ISDIR(state.st_mode):
            return f"{file} {folder_state(root / file)}"
    except (OSError, MediaError):
        return f"{file} cannot be read"
    return f"{file} {state.st_size} {state.st_mtime_ns}"
