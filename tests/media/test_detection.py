import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from hicmae_core.config import FacesParams
from hicmae_core.media.detection import CenterFace, Detections, FaceAlignmentDetector, box_iou, make_detector
from tests.media.films import background, picture
from tests.media.networks import FACE_SIDE, TILE, write_scrfd, write_yunet


def test_finds_a_real_face_with_its_points():
    (found,) = CenterFace().detect([astronaut()])
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], [179, 56, 270, 175], atol=4)
    assert 0.8 < found.scores[0] <= 1
    eyes, nose, mouth = found.points[0, :2], found.points[0, 2], found.points[0, 3:]
    np.testing.assert_allclose(eyes, [[203, 101], [247, 102]], atol=4)
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()


def test_finds_none_where_there_is_none():
    (found,) = CenterFace().detect([background()])
    assert (found.boxes.shape, found.scores.shape, found.points.shape) == ((0, 4), (0,), (0, 5, 2))


def test_finds_two_best_first():
    (found,) = CenterFace(320).detect([picture([(90, 120, 100), (240, 110, 70)])])
    assert len(found) == 2
    assert found.scores[0] >= found.scores[1]
    centres = sorted((found.boxes[:, 0] + found.boxes[:, 2]) / 2)
    assert centres == pytest.approx([90, 240], abs=6)


def test_pictures_of_several_shapes_in_a_row_are_as_with_fresh_networks():
    tall = picture([(100, 150, 90)], width=200, height=300)
    images = [astronaut(), picture([(150, 110, 90)]), tall, astronaut(), picture([(150, 110, 90)])]
    shared = CenterFace(256)
    together = [found for image in images for found in shared.detect([image])]
    for image, found in zip(images, together, strict=True):
        (fresh,) = CenterFace(256).detect([image])
        assert len(fresh) == 1
        np.testing.assert_array_equal(found.boxes, fresh.boxes)
        np.testing.assert_array_equal(found.points, fresh.points)
    for found, alone in zip(shared.detect(images), together, strict=True):
        np.testing.assert_array_equal(found.boxes, alone.boxes)


def test_the_whole_picture_is_its_centre_square():
    detector = make_detector(FacesParams(detector="none"))
    wide, tall = detector.detect([np.zeros((40, 60, 3), np.uint8), np.zeros((61, 40, 3), np.uint8)])
    np.testing.assert_array_equal(wide.boxes, [[10, 0, 50, 40]])
    np.testing.assert_array_equal(tall.boxes, [[0, 10.5, 40, 50.5]])
    assert detector.careful() is detector
    assert detector.weights is None


def test_careful_finds_a_face_too_small_for_a_glance():
    small = picture([(500, 300, 36)], width=960, height=640)
    glance = CenterFace(128, 0.5)
    assert len(glance.detect([small])[0]) == 0
    (found,) = glance.careful().detect([small])
    assert len(found) == 1
    np.testing.assert_allclose((found.boxes[0, :2] + found.boxes[0, 2:]) / 2, [500, 300], atol=4)


def test_box_iou_against_counted_pixels():
    boxes = np.random.default_rng(0).integers(0, 20, (6, 2, 2))
    boxes = np.concatenate([boxes.min(1), boxes.max(1) + 1], 1)
    masks = np.zeros((6, 24, 24), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    both = (masks[:, None] & masks[None]).sum((2, 3))
    either = (masks[:, None] | masks[None]).sum((2, 3))
    np.testing.assert_allclose(box_iou(boxes, boxes), both / either)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained weights files of the right format."""
    from face_alignment.detection.retinaface.net_retinaface import RetinaFace
    from face_alignment.detection.sfd.net_s3fd import s3fd

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    networks = {"sfd": s3fd(), "retinaface": RetinaFace()}
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in networks}


@pytest.mark.parametrize("name", ["sfd", "retinaface"])
def test_face_alignment_detectors_run_from_a_file(weights, name):
    faces = FacesParams(detector=name, weights=weights[name], detect_size=128, min_score=0.45)
    detector = make_detector(faces)
    found = detector.detect([astronaut(), background()])
    assert [type(one) for one in found] == [Detections, Detections]
    best = found[0]
    assert len(best) > 0  # an untrained network is undecided, so .45 lets some through
    assert best.boxes.shape == (len(best), 4)
    assert best.points.shape == (len(best), 5, 2)
    assert np.isnan(best.points).all()
    assert (np.diff(best.scores) <= 0).all()
    assert (best.scores >= 0.45).all()
    # Boxes are those of the package on the small image, in pixels of the large one.
    module = importlib.import_module(f"face_alignment.detection.{name}")
    threshold = {"filter_threshold" if name == "sfd" else "confidence_threshold": 0.45}
    plain = module.FaceDetector("cpu", path_to_detector=str(weights[name]), **threshold)
    shown = cv2.resize(astronaut(), (128, 128), interpolation=cv2.INTER_AREA)
    rows = np.array(plain.detect_from_image(shown))
    np.testing.assert_allclose(best.boxes, rows[np.argsort(-rows[:, 4], kind="stable"), :4] * 4, rtol=1e-4, atol=1e-3)
    assert detector.careful().min_score == 0.3


@pytest.mark.parametrize("name", ["yunet", "scrfd"])
def test_face_alignment_detectors_run_from_a_network(name, tmp_path):
    if name == "scrfd":
        pytest.importorskip("onnxruntime")
    weights = {"yunet": write_yunet, "scrfd": write_scrfd}[name](tmp_path / f"{name}.onnx")
    picture = np.zeros((192, 320, 3), np.uint8)
    picture[TILE // 2 : TILE, 3 * TILE // 2 : 2 * TILE] = 255  # a tile of the enlarged image
    detector = make_detector(FacesParams(detector=name, weights=weights, detect_size=640))
    for image, expected in ((picture, 1), (np.zeros((128, 64, 3), np.uint8), 0), (picture, 1), (picture[:, ::-1], 1)):
        (found,) = detector.detect([image])
        assert len(found) == expected
        assert found.points.shape == (expected, 5, 2)
    left, top = (320 - 1.75 * TILE - FACE_SIDE / 4, 0.75 * TILE - FACE_SIDE / 4)
    np.testing.assert_allclose(found.boxes, [[left, top, left + FACE_SIDE / 2, top + FACE_SIDE / 2]], atol=0.01)
    assert found.scores[0] > 0.9  # the enlarged tile has soft edges


@pytest.mark.parametrize("name", ["sfd", "retinaface", "scrfd", "yunet"])
def test_a_missing_weights_file_is_named(name, tmp_path):
    with pytest.raises(ValueError, match=rf"no file .*absent.bin; detector {name}"):
        make_detector(FacesParams(detector=name, weights=tmp_path / "absent.bin"))


@pytest.mark.parametrize("name", ["sfd", "retinaface", "yunet"])
def test_a_wrong_weights_file_is_named(name, tmp_path):
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no network at all")
    with pytest.raises(ValueError, match=rf"wrong.onnx is not a weights file of {name}"):
        FaceAlignmentDetector(name, wrong)


def test_weights_of_another_detector_are_refused(weights):
    with pytest.raises(ValueError, match=r"retinaface.pth is not a weights file of sfd: Error") as caught:
        FaceAlignmentDetector("sfd", weights["retinaface"])
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).count("weight") < 5  # torch names all that are missing


def test_a_pointer_in_place_of_weights_is_told(tmp_path):
    (tmp_path / "sfd.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    with pytest.raises(ValueError, match=r"sfd.pth is not a weights file of sfd: is a Git LFS pointer.*git lfs pull"):
        FaceAlignmentDetector("sfd", tmp_path / "sfd.pth")


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is not None, reason="onnxruntime is installed")
def test_scrfd_names_the_package_it_lacks(tmp_path):
    (tmp_path / "scrfd.onnx").write_bytes(b"?")
    with pytest.raises(ValueError, match="onnxruntime"):
        FaceAlignmentDetector("scrfd", tmp_path / "scrfd.onnx")
