"""One call from a video file to its main face, ready to be stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hicmae_core.config import FacePolicy, FacesParams
from hicmae_core.media.cropping import crop_face, crop_squares, encode_jpeg
from hicmae_core.media.decoding import MediaError, probe, read_frames
from hicmae_core.media.detection import Detector
from hicmae_core.media.tracking import (
    FacePath,
    Observations,
    Track,
    count_faces,
    credible_tracks,
    link,
    main_track,
    observe,
    smooth_path,
)


@dataclass(frozen=True)
class FaceTrack:
    """The main face of one video.

    Alignment: `frames` has one crop per video frame, in order, at the constant rate `fps`. Crop k shows the face at
    ``k / fps`` seconds after the first video frame, which is where sample ``k / fps * 16000`` of `read_audio` sounds.
    Where the face was missed for up to 0.6 s its box is interpolated, or held at the ends; further away, and in
    other shots, the nearest crop that shows the face is repeated, so that no crop is without a face and no index
    shifts.

    Attributes:
        status: ``ok``; ``low_coverage`` (usable, but seen in few frames); ``no_face``; or a `MediaError` status.
        reason: A sentence where the status is not ``ok``, otherwise empty.
        fps: Frames per second.
        frames: JPEG bytes, square RGB crops; empty unless `usable`.
        boxes: float32 ``[num_frames, 4]``: left, top, right, bottom of the face's upright square in video pixels.
        coverage: Fraction of the frames in which the face was detected, or interpolated between detections.
        num_faces: Most faces in view at the same time.
        start_seconds: Where the frames start in the video; 0 unless each face is a sample of its own.
        share: The face's share of all faces in view while its frames run, by size, centrality and score; 1 is alone.
        face_size: Median side of the face's square, pixels of the video.
    """

    status: str
    reason: str = ""
    fps: float = 0.0
    frames: list[bytes] = field(default_factory=list, repr=False)
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32), repr=False)
    coverage: float = 0.0
    num_faces: int = 0
    start_seconds: float = 0.0
    share: float = 0.0
    face_size: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether there are crops."""
        return bool(self.frames)


def extract_faces(
    path: Path, faces: FacesParams, policy: FacePolicy, detector: Detector, max_seconds: float
) -> list[FaceTrack]:
    """The faces of a video that the policy asks for; one entry that says why if there is none."""
    return [extract_face(path, faces, detector)]


def extract_face(path: Path, faces: FacesParams, detector: Detector) -> FaceTrack:
    """Find, follow and crop the main face of a video.

    The video is decoded twice, to find the face and to crop it, so memory holds a few frames at a time. If no face
    is found the clip is searched again, every frame at a larger size and a lower threshold, which a face may fall to
    but not stay at.

    Args:
        path: A video file.
        faces: Stride, crop geometry, size and thresholds.
        detector: From `make_detector`; it can serve any number of videos.

    Returns:
        The face, or why there is none; a bad file does not raise.
    """
    try:
        fps = probe(path).fps
        stride = faces.stride
        seen, tracks = _search(path, detector, stride, fps, faces.min_score)
        if not tracks:
            stride = 1
            seen, tracks = _search(path, detector.careful(), stride, fps, faces.min_score)
        if not tracks:
            return FaceTrack("no_face", f"{path}: no face in {seen.num_frames} frames", fps)
        main = main_track(tracks, seen.width, seen.height)
        place = smooth_path(main, seen.shots, fps, stride)
        crops = _crops(path, place, faces, detector)
    except MediaError as error:
        return FaceTrack(error.status, str(error))
    coverage = float(place.seen.mean())
    status, reason = "ok", ""
    if coverage < faces.min_coverage:
        status = "low_coverage"
        reason = f"{path}: the face is seen in {coverage:.0%} of the frames, below {faces.min_coverage:.0%}"
    x, y, side, _ = place.squares.T
    boxes = np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], 1).astype(np.float32)
    return FaceTrack(status, reason, fps, crops, boxes, coverage, count_faces(tracks, seen.num_frames))


def _search(
    path: Path, detector: Detector, stride: int, fps: float, min_score: float
) -> tuple[Observations, list[Track]]:
    seen = observe((frame for _, frame in read_frames(path)), detector, stride)
    return seen, credible_tracks(link(seen), seen.num_frames, fps, min_score)


def _crops(path: Path, place: FacePath, faces: FacesParams, detector: Detector) -> list[bytes]:
    """One JPEG per frame; frames that take another's crop share its bytes."""
    squares = crop_squares(place.squares, faces.preset, detector.eye_height, detector.eye_distance)
    wanted = set(place.sources.tolist())
    encoded = {
        index: encode_jpeg(crop_face(frame, squares[index], faces.size), faces.jpeg_quality)
        for index, (_, frame) in enumerate(read_frames(path))
        if index in wanted
    }
    return [encoded[index] for index in place.sources.tolist()]
