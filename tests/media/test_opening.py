import os
import socket
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from hicmae_core.media.decoding import MediaError, probe, read_audio, read_frames
from hicmae_core.media.opening import MAX_PICTURE_PIXELS
from tests.media.coded_films import CONTAINERS, NUM_FRAMES, read_chord, read_code, write_coded_film
from tests.media.impostors import playlist, tar_archive, zip_archive
from tests.media.users import without_privileges

BY_SUFFIX = {container.suffix: container for container in CONTAINERS}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_film(tmp_path_factory.mktemp("film") / "film.mp4", 3, BY_SUFFIX["mp4"])


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_film(tmp_path_factory.mktemp("film") / "film.ts", 5, BY_SUFFIX["ts"])


def refusal(path: Path) -> MediaError:
    """The error with which each way of reading refuses a file; the same for all."""
    errors = []
    for read in (probe, lambda file: list(read_frames(file)), read_audio):
        with pytest.raises(MediaError) as raised:
            read(path)
        errors.append(raised.value)
    assert len({(error.status, error.reason) for error in errors}) == 1
    assert errors[0].reason
    return errors[0]


def played_unguarded(path: Path) -> bool:
    """Whether FFmpeg itself would show images of that file."""
    try:
        with av.open(str(path)) as container:
            return next(container.decode(video=0), None) is not None
    except (av.FFmpegError, IndexError):
        return False


@pytest.mark.parametrize(
    "name",
    [
        "ünïcödé 映画 🎬.mp4",
        "two\nlines.mp4",
        'it\'s "quoted".mp4',
        "%03d.mp4",
        "concat:a|b.mp4",
        "x" * 251 + ".mp4",
        "-i",
    ],
)
def test_any_name_will_do(film, tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(film.read_bytes())
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        assert [read_code(frame) for _, frame in read_frames(path)] == [(3, number) for number in range(NUM_FRAMES)]
        assert read_chord(read_audio(path)) == 3


def test_a_name_that_is_not_utf8(film, tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe.mp4")
    path.write_bytes(film.read_bytes())
    assert probe(path) == probe(film)


def test_links_out_of_the_folder_are_followed(film, tmp_path):
    (tmp_path / "link.mp4").symlink_to(film)
    assert probe(tmp_path / "link.mp4") == probe(film)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
    for name in ("pipe.mp4", "folder.mp4", "socket.mp4", "dangling.mp4", "nowhere.mp4", "folder.mp4/a.mp4"):
        assert refusal(tmp_path / name).status == "missing"
    assert refusal(Path("/dev/zero")).status == "missing"
    assert "links" in refusal(tmp_path / "circle.mp4").reason


@pytest.mark.parametrize("name", ["x" * 256, "/".join(["x" * 200] * 25), "nul\0.mp4", "\ud800.mp4"])
def test_a_name_that_no_file_can_have(tmp_path, name):
    assert refusal(tmp_path / name).status == "unreadable"


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_a_file_that_may_not_be_read(film):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "secret.mp4")
        path.write_bytes(film.read_bytes())
        path.chmod(0)
        with without_privileges():
            error = refusal(path)
        assert error.status == "unreadable"
        assert "Permission denied" in error.reason
        os.chmod(folder, 0)
        with without_privileges():
            assert "Permission denied" in refusal(path).reason


def test_a_playlist_plays_nothing(film, tmp_path):
    (tmp_path / film.name).write_bytes(film.read_bytes())
    path = tmp_path / "list.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    assert played_unguarded(path)
    assert refusal(path).status == "unreadable"
    rng = np.random.default_rng(0)
    for _ in range(100):
        for path in (tmp_path / "list.mp4", tmp_path / "list.m3u8"):
            path.write_bytes(playlist(tmp_path / film.name, rng))
            assert refusal(path).status == "unreadable"


def test_an_archive_is_refused(stream, tmp_path):
    rng = np.random.default_rng(0)
    content = stream.read_bytes()
    path = tmp_path / "archive.mp4"
    num_played = 0
    for archive in (zip_archive, tar_archive, tar_archive, tar_archive):
        path.write_bytes(archive(content, b"", rng))
        num_played += played_unguarded(path)
        assert "archive" in refusal(path).reason
    assert num_played > 0  # without the guard


def jpegs(side: int) -> list[bytes]:
    """A black image as JPEG."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width = encoder.height = side
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    picture = av.VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), format="yuvj420p")
    return [bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None))]


def write_jpegs(path: Path, side: int, pictures: list[bytes]) -> Path:
    """A video of JPEGs whose header tells the side."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width = video.height = side
        video.pix_fmt = "yuvj420p"
        for number, content in enumerate(pictures):
            packet = av.Packet(content)
            packet.stream, packet.time_base = video, Fraction(1, 25)
            packet.pts = packet.dts = number
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mov"])
def test_a_picture_that_is_too_large(tmp_path, suffix):
    side = int(MAX_PICTURE_PIXELS**0.5) + 64
    small, large = jpegs(64), jpegs(side)
    assert refusal(write_jpegs(tmp_path / f"large.{suffix}", side, large)).status == "too_large"
    growing = write_jpegs(tmp_path / f"growing.{suffix}", 64, small * 5 + large * 5)
    with pytest.raises(MediaError) as raised:
        list(read_frames(growing))
    assert raised.value.status in ("too_large", "unreadable")
    assert len(list(read_frames(write_jpegs(tmp_path / f"small.{suffix}", 64, small * 5)))) == 5
