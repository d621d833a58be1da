"""One call from a video file to its faces, ready to be stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hicmae_core.config import FacePolicy, FacesParams
from hicmae_core.media.choosing import (
    MAX_GAP_SECONDS,
    MIN_SAMPLE_SECONDS,
    FacePath,
    best_per_shot,
    count_faces,
    credible_tracks,
    during,
    lasting_parts,
    main_face,
    max_gap,
    share,
    smooth_path,
)
from hicmae_core.media.cropping import crop_face, crop_squares, encode_jpeg
from hicmae_core.media.decoded_frame import DecodedFrame, FittedPicture
from hicmae_core.media.decoding import MediaError, probe, read_decoded_frames
from hicmae_core.media.detection import Detector
from hicmae_core.media.frame_folder import frame_rate, list_frames, read_folder
from hicmae_core.media.opening import check_length
from hicmae_core.media.packets import Damage
from hicmae_core.media.tracking import Observations, Track, link, observe

KEPT_BYTES = 128 * 2**20
"""A video whose decoded frames fit in here is decoded once (15 s of 360p), a larger one each time it is inspected."""


@dataclass(frozen=True)
class FaceTrack:
    """A face of a video, over all of it or over the part that shows it.

    Alignment: `frames` has one crop per video frame, in order, at the constant rate `fps`. Crop k shows the face at
    ``start_seconds + k / fps`` seconds after the first video frame; 16000 times that is the sample of `read_audio`
    that sounds there. Where the face was missed for up to 0.6 s its box is interpolated, or held at the ends; further
    away, and in shots without it, the nearest crop that shows it is repeated, so that no crop is without a face and
    no index shifts.

    Attributes:
        status: ``ok``; ``damaged``, ``low_coverage``, ``frozen_face`` or ``low_share`` (usable, but up to a tenth of
            the video does not decode, the face is seen in few frames, crops repeat one for longer than 0.6 s, or it is
            one among others); ``no_face``; ``short_face`` (no face lasts long enough to be a sample of its own); or a
            `MediaError` status.
        reason: A sentence where the status is not ``ok``, otherwise empty.
        fps: Frames per second.
        frames: JPEG bytes, square RGB crops; empty unless `usable`.
        boxes: float32 ``[num_frames, 4]``: left, top, right, bottom of the face's upright square, in pixels
            of the video as shown.
        coverage: Fraction of the frames in which the face was detected, or interpolated between detections.
        num_faces: Most faces in view at the same time, in the whole video.
        start_seconds: When the frames start; 0 unless each face is a sample of its own.
        share: The face's part of all faces seen in its time, by duration, size, centrality and score; 1 is alone.
        face_size: Median side of the face's square, pixels of the video as shown.
        num_frozen: Crops that repeat one of a frame more than 0.6 s away.
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
    num_frozen: int = 0

    @property
    def usable(self) -> bool:
        """Whether there are crops."""
        return bool(self.frames)


@dataclass(frozen=True)
class _Sample:
    """A face before it is cropped: its place, the frame where it starts, its share."""

    place: FacePath
    first: int
    share: float


class _Film:
    """The frames of a video, which can be iterated again. All have the size of the first."""

    def __init__(self, path: Path, max_seconds: float) -> None:
        self.path = path
        self.max_seconds = max_seconds
        self.damage = Damage("video")
        self._kept: list[DecodedFrame] | None = None

    def __iter__(self) -> Iterator[DecodedFrame]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[DecodedFrame] = []
        num_bytes = 0
        size: tuple[int, int] | None = None
        self.damage = Damage("video")
        for _, picture in read_decoded_frames(self.path, self.max_seconds, self.damage):
            size = size or (picture.width, picture.height)
            if (picture.width, picture.height) != size:
                picture = FittedPicture(**vars(picture), size=size)
            num_bytes += picture.num_bytes
            if num_bytes <= KEPT_BYTES:
                kept.append(picture)
            else:
                kept.clear()
            yield picture
        if num_bytes <= KEPT_BYTES:
            self._kept = kept


def extract_face(path: Path, faces: FacesParams, detector: Detector, max_seconds: float = math.inf) -> FaceTrack:
    """The main face of a video: `extract_faces` with the policy ``single``."""
    (track,) = extract_faces(path, faces, "single", detector, max_seconds)
    return track


def extract_faces(
    path: Path, faces: FacesParams, policy: FacePolicy, detector: Detector, max_seconds: float
) -> list[FaceTrack]:
    """Find, follow and crop the faces of a video.

    If no face is found the video is searched again, every frame at a larger size and a lower threshold, which a face
    may fall to but not stay at. Memory holds `KEPT_BYTES` of images, and the crops.

    Args:
        path: A video file.
        faces: Stride, crop geometry, size and thresholds. With the detector ``none`` the centre square of every
            image is the face, whatever the policy.
        policy: ``single``: the face that is large, central and certain for longest, over the whole video; a cut after
            which it goes on at about the same place, and looks alike, does not end it.
            ``stitch``: the same in each shot; shots without a face take the nearest crop. ``all``: every face, as a
            sample of its own, over the frames that show it without a gap, if these are 2 s or more.
        detector: From `make_detector` with the same `faces`; it can serve any number of videos.
        max_seconds: Longer videos are refused.

    Returns:
        The faces, in order of time; or one entry that says why there is none: a bad file does not raise.
    """
    try:
        fps = probe(path).fps
        film = _Film(path, max_seconds)
        if faces.detector == "none":
            return [flag_damage(_whole_frames(film, fps, faces, detector), path, film.damage)]
        seen, tracks = _search(film, detector, faces.stride, fps, faces.min_score)
        if not tracks:
            seen, tracks = _search(film, detector.careful(), 1, fps, faces.min_score)
        if not tracks:
            return [FaceTrack("no_face", f"{path}: no face in {seen.num_frames} frames", fps)]
        num_faces = count_faces(tracks, seen.num_frames)
        samples = _samples(policy, tracks, seen, fps)
        if not samples:
            reason = f"{path}: no face is seen for {MIN_SAMPLE_SECONDS:g} s without a gap, as the policy `all` asks"
            return [FaceTrack("short_face", reason, fps, num_faces=num_faces)]
        crops = _crops(film, [sample.place for sample in samples], faces, detector)
    except MediaError as error:
        return [FaceTrack(error.status, str(error))]
    return [
        flag_damage(_face_track(path, sample, frames, num_faces, fps, faces), path, film.damage)
        for sample, frames in zip(samples, crops, strict=True)
    ]


def frame_folder_face(
    folder: Path, audio: Path, fps: float | None, faces: FacesParams, max_seconds: float
) -> FaceTrack:
    """The face of a clip whose faces are cropped already, as a folder of images (`frame_folder.read_folder`).

    Args:
        folder: The images.
        audio: The file with the clip's audio; it is opened where `fps` is not known.
        fps: Their rate.
        faces: JPEG quality and the least coverage; nothing is detected.
        max_seconds: Longer clips are refused.
    """
    try:
        num_frames = len(list_frames(folder))
        fps = fps or frame_rate(folder, num_frames, probe(audio), None, None)
        check_length(folder, num_frames / fps, max_seconds)
        found = read_folder(folder, faces.jpeg_quality)
    except MediaError as error:
        return FaceTrack(error.status, str(error))
    covered = found.coverage >= faces.min_coverage
    coverage = f"its frames and their numbers show the face in {found.coverage:.0%}, below {faces.min_coverage:.0%}"
    reason = "; ".join(filter(None, [found.reason, "" if covered else coverage]))
    return FaceTrack(
        status="ok" if covered else "low_coverage",
        reason=f"{folder}: {reason}" if reason else "",
        fps=fps,
        frames=found.jpegs,
        boxes=np.tile(np.array([0, 0, found.side, found.side], np.float32), (len(found.jpegs), 1)),
        coverage=found.coverage,
        num_faces=1,
        share=1.0,
        face_size=float(found.side),
    )


def flag_damage(track: FaceTrack, path: Path, damage: Damage) -> FaceTrack:
    """A usable track with the status ``damaged``, and the reason, if some of the file did not decode."""
    if not damage.reason:
        return track
    others = track.reason.removeprefix(f"{path}: ")
    return replace(track, status="damaged", reason=f"{path}: {'; '.join(filter(None, [others, damage.reason]))}")


def _search(
    pictures: Iterable[DecodedFrame], detector: Detector, stride: int, fps: float, min_score: float
) -> tuple[Observations, list[Track]]:
    seen = observe(pictures, detector, stride, max_gap(fps, stride))
    return seen, credible_tracks(link(seen), seen, fps, min_score)


def _samples(policy: FacePolicy, tracks: list[Track], seen: Observations, fps: float) -> list[_Sample]:
    if policy != "all":
        chosen = main_face(tracks, seen) if policy == "single" else best_per_shot(tracks, seen)
        return [_Sample(smooth_path(chosen, seen, fps), 0, share(chosen, tracks, seen))]
    samples = []
    for part in lasting_parts(tracks, seen, fps):
        first, last = part.frames[0], part.frames[-1]
        place = smooth_path([part], seen, fps).part(first, last)
        samples.append(_Sample(place, first, share([part], during(tracks, first, last), seen)))
    return samples


def _crops(
    pictures: Iterable[DecodedFrame], places: list[FacePath], faces: FacesParams, detector: Detector
) -> list[list[bytes]]:
    """Per face one JPEG per frame; frames that take another's crop share its bytes."""
    wanted = []
    for place in places:
        squares = crop_squares(place.squares, faces.preset, detector.eye_height, detector.eye_distance)
        wanted.append(dict(zip(place.sources.tolist(), squares, strict=True)))
    encoded: list[dict[int, bytes]] = [{} for _ in places]
    for index, picture in enumerate(pictures):
        here = [(squares[index], jpegs) for squares, jpegs in zip(wanted, encoded, strict=True) if index in squares]
        image = picture.rgb() if here else None
        for square, jpegs in here:
            assert image is not None, "there is a face to crop"
            jpegs[index] = encode_jpeg(crop_face(image, square, faces.size), faces.jpeg_quality)
    return [[jpegs[index] for index in place.sources.tolist()] for place, jpegs in zip(places, encoded, strict=True)]


def _face_track(
    path: Path, sample: _Sample, frames: list[bytes], num_faces: int, fps: float, faces: FacesParams
) -> FaceTrack:
    """The sample with its crops, flagged where it is seen in few frames, stands still, or is one among others."""
    coverage = float(sample.place.seen.mean())
    flags = {}
    if coverage < faces.min_coverage:
        flags["low_coverage"] = f"the face is seen in {coverage:.0%} of the frames, below {faces.min_coverage:.0%}"
    num_frozen = int(sample.place.frozen.sum())
    if num_frozen:
        flags["frozen_face"] = (
            f"{num_frozen} of {len(frames)} crops repeat one from more than {MAX_GAP_SECONDS:g} s away, "
            "as the face is not seen there"
        )
    if sample.share < faces.min_share:
        flags["low_share"] = f"the face has {sample.share:.0%} of what faces are seen, below {faces.min_share:.0%}"
    x, y, side, _ = sample.place.squares.T
    return FaceTrack(
        status=next(iter(flags), "ok"),
        reason=f"{path}: {'; '.join(flags.values())}" if flags else "",
        fps=fps,
        frames=frames,
        boxes=np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], 1).astype(np.float32),
        coverage=coverage,
        num_frozen=num_frozen,
        num_faces=num_faces,
        start_seconds=sample.first / fps,
        share=sample.share,
        face_size=float(np.median(side)),
    )


def _whole_frames(pictures: Iterable[DecodedFrame], fps: float, faces: FacesParams, detector: Detector) -> FaceTrack:
    """A video that is cropped already, as one face seen in every frame."""
    frames, boxes = [], []
    for picture in pictures:
        image = picture.rgb()
        (found,) = detector.detect([image])
        left, top, right, bottom = found.boxes[0]
        square = np.array([(left + right) / 2, (top + bottom) / 2, right - left, 0.0])
        frames.append(encode_jpeg(crop_face(image, square, faces.size), faces.jpeg_quality))
        boxes.append(found.boxes[0])
    size = float(np.median([right - left for left, _, right, _ in boxes]))
    return FaceTrack("ok", "", fps, frames, np.stack(boxes), coverage=1.0, num_faces=1, share=1.0, face_size=size)
