"""Pictures as players show them: the way up, square pixels, colours."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

from hicmae_core.config import FacesParams
from hicmae_core.media.decoded_frame import DecodedFrame
from hicmae_core.media.decoding import MediaError, probe, read_frames
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_face
from tests.media.films import background, picture

FACES = FacesParams(detect_size=256, size=96)
ORIENTATIONS = [
    *((a, 0, 0, d) for a, d in product((1, -1), repeat=2)),
    *((0, b, c, 0) for b, c in product((1, -1), repeat=2)),
]


@dataclass
class Tags:
    """What a stream says of its frames."""

    matrix: tuple[float, float, float, float] | None = None
    pixel_ratio: Fraction | None = None
    pix_fmt: str = "yuv420p"
    context: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def write(path: Path, frames: Sequence[av.VideoFrame], tags: Tags, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, tags.pix_fmt
        if codec == "libx264":
            video.options = {"crf": "8", "preset": "veryfast"}
        if tags.pixel_ratio is not None:
            video.codec_context.sample_aspect_ratio = tags.pixel_ratio
        if tags.matrix is not None:
            a, b, c, d = (round(value * 65536) for value in tags.matrix)
            video.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for name, value in tags.context.items():
            setattr(video.codec_context, name, value)
        video.metadata.update(tags.metadata)
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def plain(image: np.ndarray, num_frames: int = 3) -> list[av.VideoFrame]:
    return [av.VideoFrame.from_ndarray(image, format="rgb24") for _ in range(num_frames)]


def shown(path: Path) -> np.ndarray:
    _, image = next(read_frames(path))
    return image


def quadrants(width: int = 96, height: int = 64) -> np.ndarray:
    """Four colours, none where another one is."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (200, 40, 40)
    image[: height // 2, width // 2 :] = (40, 200, 40)
    image[height // 2 :, : width // 2] = (40, 40, 200)
    image[height // 2 :, width // 2 :] = (200, 200, 200)
    return image


def by_matrix(image: np.ndarray, matrix: Sequence[int]) -> np.ndarray:
    """Pixel by pixel, as ISO 14496-12 has it: ``(x, y, 1) = (p, q, 1) M``."""
    a, b, c, d = matrix
    rows, columns = np.indices(image.shape[:2])
    x, y = a * columns + c * rows, b * columns + d * rows
    x, y = x - x.min(), y - y.min()
    result = np.zeros((y.max() + 1, x.max() + 1, 3), np.uint8)
    result[y, x] = image
    return result


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(float) - second).mean())


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_flips_and_turns_of_the_display_matrix_are_used(tmp_path, matrix):
    path = write(tmp_path / "turned.mp4", plain(quadrants()), Tags(matrix))
    expected = by_matrix(quadrants(), matrix)
    image = shown(path)
    assert image.shape == expected.shape
    assert distance(image, expected) < 6
    assert (probe(path).height, probe(path).width) == image.shape[:2]


@pytest.mark.parametrize(("degrees", "quarter"), [(8, (1, 0, 0, 1)), (80, (0, 1, -1, 0)), (-100, (0, -1, 1, 0))])
def test_an_odd_angle_is_rounded_to_a_quarter(tmp_path, degrees, quarter):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    path = write(tmp_path / "odd.mp4", plain(quadrants()), Tags((cosine, sine, -sine, cosine)))
    assert distance(shown(path), by_matrix(quadrants(), quarter)) < 6


@pytest.mark.parametrize(
    ("degrees", "matrix"),
    [("90", (0, 1, -1, 0)), ("180", (-1, 0, 0, -1)), ("-90", (0, -1, 1, 0)), ("x", (1, 0, 0, 1))],
)
def test_the_tag_of_old_files_counts_where_there_is_no_matrix(tmp_path, degrees, matrix):
    path = write(tmp_path / "tagged.mkv", plain(quadrants()), Tags(metadata={"rotate": degrees}))
    assert distance(shown(path), by_matrix(quadrants(), matrix)) < 6


@pytest.mark.parametrize(
    ("orientation", "matrix"),
    [
        (1, (1, 0, 0, 1)),
        (2, (-1, 0, 0, 1)),
        (4, (1, 0, 0, -1)),
        (5, (0, 1, 1, 0)),
        (6, (0, 1, -1, 0)),
        (8, (0, -1, 1, 0)),
    ],
)
def test_the_orientation_in_motion_jpeg_counts(tmp_path, orientation, matrix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(quadrants()).save(stream, "JPEG", quality=95, exif=exif)
    path = tmp_path / "exif.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25, width=96, height=64)
        video.pix_fmt = "yuvj420p"
        for index in range(3):
            packet = av.Packet(stream.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = video, index, index, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    assert distance(shown(path), by_matrix(quadrants(), matrix)) < 6


@pytest.mark.parametrize("matrix", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_a_face_behind_a_mirror_is_cropped_upright(tmp_path, matrix):
    a, b, c, d = matrix
    stored = by_matrix(picture([(150, 110, 100)]), (a, c, b, d))  # the inverse of these is their transpose
    track = extract_face(write(tmp_path / "mirror.mp4", plain(stored, 10), Tags(matrix)), FACES, CenterFace(256))
    np.testing.assert_allclose((track.boxes[5, :2] + track.boxes[5, 2:]) / 2, (150, 110), atol=8)
    (found,) = CenterFace(96).detect([np.asarray(Image.open(io.BytesIO(track.frames[5])))])
    np.testing.assert_allclose(found.points[0, :2].mean(0) / 96, [0.5, 0.385], atol=0.08)


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ("64/45", (320, 240)),
        ("8/9", (225, 270)),
        ("1/2", (225, 480)),
        ("2/1", (450, 240)),
        ("0/1", (225, 240)),
        ("1/1", (225, 240)),
        ("100/1", (225, 240)),
        ("1/30000", (225, 240)),
    ],
)
def test_pixels_that_are_not_square_are_stretched(tmp_path, ratio, size):
    path = write(tmp_path / "wide.mkv", plain(quadrants(226, 240)), Tags(pixel_ratio=Fraction(ratio)))
    width, height = round(size[0] * 226 / 225), size[1]
    image = shown(path)
    assert image.shape == (height, width, 3)
    assert distance(image, quadrants(width, height)) < 6
    assert (probe(path).width, probe(path).height) == (width, height)


def test_a_squeezed_face_is_cropped_as_it_was(tmp_path):
    image = picture([(150, 110, 100)])
    squeezed = np.asarray(Image.fromarray(image).resize((180, 240)))
    tags = Tags(matrix=(0, 1, -1, 0), pixel_ratio=Fraction(320, 180))
    lying = by_matrix(image, (0, -1, 1, 0))  # turned back, then squeezed along its own width
    turned = np.asarray(Image.fromarray(lying).resize((lying.shape[1] * 180 // 320 // 2 * 2, lying.shape[0])))
    cases = {
        "none": write(tmp_path / "none.mp4", plain(image, 10), Tags()),
        "squeezed": write(tmp_path / "squeezed.mp4", plain(squeezed, 10), Tags(pixel_ratio=Fraction(320, 180))),
        "both": write(tmp_path / "both.mp4", plain(turned, 10), tags),
    }
    tracks = {name: extract_face(path, FACES, CenterFace(256)) for name, path in cases.items()}
    assert probe(cases["squeezed"]).width == probe(cases["none"]).width == 320
    assert (probe(cases["both"]).width, probe(cases["both"]).height) == (320, pytest.approx(240, abs=2))
    for name in ("squeezed", "both"):
        np.testing.assert_allclose(tracks[name].boxes[5], tracks["none"].boxes[5], atol=6)
        pixels = [np.asarray(Image.open(io.BytesIO(tracks[one].frames[5]))) for one in (name, "none")]
        assert distance(*pixels) < 12


# -------- colours


def pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, from light to code."""
    root = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * root) / (1 + 2392 / 128 * root)) ** (2523 / 32)


def hlg(nits: np.ndarray) -> np.ndarray:
    """BT.2100 HLG for a screen of 1000 nits, from its light to code."""
    display = nits / 1000
    luminance = display @ np.array([0.2627, 0.6780, 0.0593])
    scene = display * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def in_bt2020(image: np.ndarray) -> np.ndarray:
    """Linear light of an ordinary image with BT.2020's primaries (BT.2087)."""
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    return (image / 255.0) ** 2.4 @ to_bt2020.T


def deep(values: np.ndarray, matrix: Colorspace = Colorspace.BT2020) -> list[av.VideoFrame]:
    """Frames of 10 bit from RGB in [0, 1]."""
    coded = (np.clip(values, 0, 1) * 65535).round().astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(coded, format="rgb48le")
    return [frame.reformat(format="yuv444p10le", dst_colorspace=matrix, dst_color_range="MPEG") for _ in range(3)]


BT2020 = {"colorspace": 9, "color_range": 1, "color_primaries": int(ColorPrimaries.BT2020)}
CODES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "pq": (lambda light: pq(100 * light), ColorTrc.SMPTE2084),
    "hlg": (lambda light: hlg(100 * light), ColorTrc.ARIB_STD_B67),
    "wide": (lambda light: light ** (1 / 2.4), ColorTrc.BT2020_10),
}


@pytest.mark.parametrize("name", CODES)
def test_high_dynamic_range_and_wide_gamut_look_as_usual(tmp_path, name):
    image = np.minimum(quadrants(), 190)
    encode, transfer = CODES[name]
    tags = Tags(pix_fmt="yuv444p10le", context={**BT2020, "color_trc": int(transfer)})
    path = write(tmp_path / f"{name}.mp4", deep(encode(in_bt2020(image))), tags)
    assert distance(shown(path), image) < 4


@pytest.mark.parametrize("name", ["pq", "hlg"])
def test_highlights_approach_white_in_order(tmp_path, name):
    nits = np.array([10.0, 50, 100, 203, 400, 900])
    light = np.repeat(nits / 100, 16)[None, :, None] * np.ones((32, 1, 3))
    encode, transfer = CODES[name]
    tags = Tags(pix_fmt="yuv444p10le", context={**BT2020, "color_trc": int(transfer)})
    image = shown(write(tmp_path / "bright.mp4", deep(encode(light)), tags))
    steps = image.reshape(32, 6, 16, 3)[:, :, 4:-4].mean((0, 2, 3))
    np.testing.assert_allclose(steps[:2], 255 * (nits[:2] / 100) ** (1 / 2.4), atol=3)
    assert (np.diff(steps) > 3).all()
    assert steps[-1] < 255


def test_a_face_in_high_dynamic_range_is_no_darker(tmp_path):
    image = picture([(150, 110, 100)])
    encode, transfer = CODES["pq"]
    tags = Tags(pix_fmt="yuv444p10le", context={**BT2020, "color_trc": int(transfer)})
    paths = (
        write(tmp_path / "sdr.mp4", plain(image), Tags()),
        write(tmp_path / "hdr.mp4", deep(encode(in_bt2020(image))), tags),
    )
    tracks = [extract_face(path, FACES, CenterFace(256)) for path in paths]
    sdr, hdr = (np.asarray(Image.open(io.BytesIO(track.frames[1]))).astype(float) for track in tracks)
    assert hdr.mean() == pytest.approx(sdr.mean(), rel=0.06)
    assert hdr.std() == pytest.approx(sdr.std(), rel=0.15)


@pytest.mark.parametrize(
    ("size", "tag", "matrix"),
    [
        ((96, 64), 2, Colorspace.ITU601),
        ((1280, 64), 2, Colorspace.ITU709),
        ((96, 720), 2, Colorspace.ITU709),
        ((96, 64), 1, Colorspace.ITU709),
        ((1280, 64), 6, Colorspace.ITU601),
        ((96, 64), 9, Colorspace.BT2020),
    ],
)
@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
def test_matrix_and_range_are_those_of_the_tags_or_of_the_size(tmp_path, size, tag, matrix, color_range):
    image = quadrants(*size)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    coded = frame.reformat(format="yuv444p", dst_colorspace=matrix, dst_color_range=color_range)
    coded.colorspace = tag
    path = write(
        tmp_path / "tags.mp4",
        [coded] * 3,
        Tags(pix_fmt="yuv444p", context={"colorspace": tag, "color_range": int(color_range)}),
    )
    assert distance(shown(path), image) < 3


def test_ten_bits_look_as_eight_do(tmp_path):
    image = quadrants()
    frames = deep(image / 255, Colorspace.ITU601)
    for frame in frames:
        frame.colorspace = 2
    path = write(tmp_path / "deep.mp4", frames, Tags(pix_fmt="yuv444p10le"))
    assert distance(shown(path), image) < 3


@pytest.mark.parametrize("tag", [3, 10])
def test_odd_tags_of_the_matrix_do_not_stop_reading(tag):
    for pix_fmt in ("yuv420p", "yuv420p10le"):
        frame = av.VideoFrame.from_ndarray(background(), format="rgb24").reformat(format=pix_fmt)
        frame.colorspace = tag
        assert distance(DecodedFrame(frame).rgb(), background()) < 8
        assert DecodedFrame(frame).luma().shape == (240, 320)


def test_colours_that_are_not_known_have_a_reason(tmp_path):
    frames = [frame.reformat(format="yuv444p") for frame in plain(quadrants())]
    path = write(tmp_path / "ycgco.mp4", frames, Tags(pix_fmt="yuv444p", context={"colorspace": 8}))
    with pytest.raises(MediaError, match=r"ycgco\.mp4: codes its colours"):
        shown(path)
    track = extract_face(path, FACES, CenterFace(256))
    assert track.status == "unreadable"
