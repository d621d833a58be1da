"""A video whose images change their size midway, as calls do when the network is slow."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from hicmae_core.config import FacesParams
from hicmae_core.media.decoding import read_decoded_frames, read_frames
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_face, extract_faces
from tests.media.films import FPS, picture

FACES = FacesParams(detect_size=256, size=96)
PART = 15


def write_parts(path: Path, parts: list[list[np.ndarray]], ratios: Sequence[Fraction] = ()) -> Path:
    """A transport stream in which each part has its own image size, and its own pixel ratio if there are any."""
    content = io.BytesIO()
    for number, images in enumerate(parts):
        with av.open(content, "w", format="mpegts", options={"mpegts_copyts": "1"}) as output:
            video = output.add_stream("mpeg2video", rate=FPS)
            video.height, video.width = images[0].shape[:2]
            video.pix_fmt, video.bit_rate = "yuv420p", 4_000_000
            if ratios:
                video.codec_context.sample_aspect_ratio = ratios[number]
            for index, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number * PART + index, Fraction(1, FPS)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
    path.write_bytes(content.getvalue())
    return path


def scene(scale: float, bars: int = 0) -> list[np.ndarray]:
    """A head that drifts from frame to frame, the whole image scaled, with grey bars beside it."""
    images = []
    for index in range(PART):
        image = cv2.resize(picture([(150 + index, 115, 90)]), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        images.append(np.pad(image, ((0, 0), (bars, bars), (0, 0)), constant_values=128))
    return images


@pytest.mark.parametrize("scales", [(1.0, 0.5), (0.5, 1.0), (1.0, 0.75, 1.0)])
def test_boxes_are_of_the_first_size(tmp_path, scales):
    path = write_parts(tmp_path / "call.ts", [scene(scale) for scale in scales])
    widths = [frame.shape[1] for _, frame in read_frames(path)]
    assert set(widths) == {round(320 * scale) for scale in scales}
    track = extract_face(path, FACES, CenterFace(FACES.detect_size, FACES.min_score))
    assert track.status == "ok"
    assert len(track.frames) == len(widths)
    truth = scales[0] * np.stack([150 + np.arange(PART), np.full(PART, 115.0)], 1)
    centres = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    side = np.median(track.boxes[:, 2] - track.boxes[:, 0])
    error = np.hypot(*(centres - np.concatenate([truth] * len(scales))[: len(centres)]).T) / side
    assert np.percentile(error, 90) < 0.16  # between the parts the head jumps back by a sixth of its side
    crops = [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in track.frames]
    found = CenterFace(96).detect([crops[index] for index in (0, PART // 2, PART + PART // 2, -1)])
    assert all(len(faces) for faces in found)


def test_another_shape_is_not_stretched(tmp_path):
    path = write_parts(tmp_path / "turned.ts", [scene(1.0), scene(1.0, bars=80)])
    (track,) = extract_faces(path, FACES, "stitch", CenterFace(FACES.detect_size, FACES.min_score), 60)
    first, second = track.boxes[5], track.boxes[PART + 7]
    scale = 320 / 480  # the wide image is as wide as the first one
    assert track.status == "ok"
    assert second[2] - second[0] == pytest.approx(scale * (first[2] - first[0]), rel=0.15)
    centre = (second[:2] + second[2:]) / 2
    np.testing.assert_allclose(centre, [scale * (157 + 80), 40 + scale * 115], atol=10)


def test_the_shape_of_the_pixels_may_change_midway(tmp_path):
    """As on television: wide pixels in one programme, square ones in the next, and wide ones again."""
    ratios = [Fraction(4, 3), Fraction(1), Fraction(4, 3)]
    path = write_parts(tmp_path / "evening.ts", [scene(1.0)] * 3, ratios)
    widths = [image.width for _, image in read_decoded_frames(path)]
    assert [widths[part * PART + PART // 2] for part in range(3)] == [427, 320, 427]
    assert all(height == 240 for height in {image.height for _, image in read_decoded_frames(path)})
