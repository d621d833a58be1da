import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from hicmae_core.media.cropping import PRESETS, crop_face, crop_squares, encode_jpeg
from hicmae_core.media.detection import CenterFace


def plane(height: int = 240, width: int = 320) -> np.ndarray:
    """An image whose red and green tell x and y."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 0.75, y * 0.75, 0 * x], -1).round().astype(np.uint8)


@pytest.mark.parametrize("roll", [0.0, 0.3, -0.7])
@pytest.mark.parametrize(("side", "size"), [(40.0, 80), (64.0, 64), (100.0, 48), (90.0, 20)])
def test_each_pixel_comes_from_its_place_in_the_turned_square(roll, side, size):
    crop = crop_face(plane(), np.array([150.3, 118.6, side, roll]), size).astype(float)
    assert crop.shape == (size, size, 3)
    offsets = ((np.arange(size) + 0.5) / size - 0.5) * side
    right, down = np.meshgrid(offsets, offsets)
    x = 150.3 + right * np.cos(roll) - down * np.sin(roll) - 0.5
    y = 118.6 + right * np.sin(roll) + down * np.cos(roll) - 0.5
    error = np.abs(crop[..., :2] - 0.75 * np.stack([x, y], -1))
    assert error.max() < 1.3


@pytest.mark.parametrize("centre", [(0, 0), (319, 239), (160, -20), (-500, 900)])
def test_outside_the_picture_its_edge_is_repeated(centre):
    crop = crop_face(plane(), np.array([*centre, 60, 0.2]), 32)
    x, y = np.clip(centre[0], 0, 319) * 0.75, np.clip(centre[1], 0, 239) * 0.75
    assert np.abs(crop[16, 16, :2].astype(float) - [x, y]).max() < 6


@pytest.mark.parametrize("preset", ["voxceleb", "openface"])
def test_eyes_of_a_real_face_lie_where_the_preset_says(preset):
    detector = CenterFace()
    (found,) = detector.detect([astronaut()])
    left, top, right, bottom = found.boxes[0]
    slope = found.points[0, 1] - found.points[0, 0]
    square = np.array([[(left + right) / 2, (top + bottom) / 2, bottom - top, np.arctan2(slope[1], slope[0])]])
    (placed,) = crop_squares(square, preset, detector.eye_height, detector.eye_distance)
    (again,) = detector.detect([crop_face(astronaut(), placed, 160)])
    eyes = again.points[0, :2] / 160
    eye_height, eye_distance = PRESETS[preset]
    assert eyes[:, 1].mean() == pytest.approx(eye_height, abs=0.05)
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(eye_distance, abs=0.06)
    assert abs(eyes[1, 1] - eyes[0, 1]) < 0.03  # upright


def test_presets_move_along_the_turned_face():
    upright = crop_squares(np.array([[100.0, 100.0, 80.0, 0.0]]), "openface", 0.385, 0.345)[0]
    lying = crop_squares(np.array([[100.0, 100.0, 80.0, np.pi / 2]]), "openface", 0.385, 0.345)[0]
    down = upright[1] - 100
    assert down > 5  # tighter, and lower on the face
    assert upright[2] == pytest.approx(80 * 0.345 / 0.39)
    np.testing.assert_allclose(lying[:2], [100 - down, 100], atol=1e-9)


def test_jpeg_is_rgb():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    decoded = np.asarray(Image.open(io.BytesIO(encode_jpeg(red, 92))))
    assert np.abs(decoded.astype(int) - red).max() <= 3
