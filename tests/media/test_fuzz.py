import io
import os
import socket
import struct
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.fuzz import FAILURES, KINDS, make_cases, run
from hicmae_core.config import FacesParams
from hicmae_core.media.decoding import MAX_FRAME_RATE, MediaError, probe, read_audio, read_frames
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_face
from hicmae_core.media.opening import MAX_PICTURE_PIXELS
from tests.media.coded_films import CONTAINERS, NUM_FRAMES, chord, read_chord, read_code, write_coded_film
from tests.media.films import tone, write_film
from tests.media.mutants import flipped_payload, playlist, tar_archive, zip_archive

BY_SUFFIX = {container.suffix: container for container in CONTAINERS}
NOBODY = 65534


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_film(tmp_path_factory.mktemp("film") / "film.mp4", 3, BY_SUFFIX["mp4"])


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_film(tmp_path_factory.mktemp("film") / "film.ts", 5, BY_SUFFIX["ts"])


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may open anything."""
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


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
    """Whether FFmpeg itself would show pictures of that file."""
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


def test_a_picture_that_is_too_large(tmp_path):
    side = int(MAX_PICTURE_PIXELS**0.5) + 64
    path = tmp_path / "large.avi"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width = video.height = side
        video.pix_fmt = "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), format="yuvj420p")
        container.mux([*video.encode(picture), *video.encode(None)])
    assert refused_pictures(path).status == "too_large"


def refused_pictures(path: Path) -> MediaError:
    with pytest.raises(MediaError) as raised:
        list(read_frames(path))
    return raised.value


def test_an_absurd_frame_rate(tmp_path):
    path = tmp_path / "fast.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=MAX_FRAME_RATE * 2)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, MAX_FRAME_RATE * 2)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    assert "frame rate" in refused_pictures(path).reason


def test_broken_frames_are_counted(film, tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(flipped_payload(film.read_bytes(), b"", np.random.default_rng(1)))
    error = refused_pictures(path)
    assert error.status == "unreadable"
    assert "damaged" in error.reason


def test_two_films_in_one_stream_are_refused_not_mixed(stream, tmp_path):
    other = write_coded_film(tmp_path / "other.ts", 7, BY_SUFFIX["ts"])
    path = tmp_path / "both.ts"
    path.write_bytes(stream.read_bytes() + other.read_bytes())
    assert "jump" in refused_pictures(path).reason


def test_pictures_whose_size_changes_midway(tmp_path):
    path = tmp_path / "sizes.ts"
    buffer = io.BytesIO()
    for part, side in enumerate((160, 96)):
        with av.open(buffer, "w", format="mpegts", options={"mpegts_copyts": "1"}) as container:
            video = container.add_stream("mpeg2video", rate=25)
            video.width = video.height = side
            video.pix_fmt = "yuv420p"
            for index in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 90, np.uint8), format="rgb24")
                frame.pts, frame.time_base = 10 * part + index, Fraction(1, 25)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
    path.write_bytes(buffer.getvalue())
    assert {frame.shape[0] for _, frame in read_frames(path)} == {160, 96}
    faces = FacesParams(detect_size=128)
    assert extract_face(path, faces, CenterFace(128)).status == "no_face"


def test_sound_is_refused_before_it_fills_the_memory(film, tmp_path):
    path = tmp_path / "slow.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 1, 0, "NONE", ""))  # 1 Hz: each sample becomes 16,000
        file.writeframes(bytes(4_000_000))
    for declared in (True, False):
        if not declared:
            content = bytearray(path.read_bytes())
            content[40:44] = struct.pack("<I", 0xFFFFFFFF)
            path.write_bytes(content)
        with pytest.raises(MediaError) as raised:
            read_audio(path)
        assert raised.value.status == "too_long"
    with pytest.raises(MediaError) as raised:
        read_audio(film, max_seconds=0.5)
    assert raised.value.status == "too_long"
    assert len(read_audio(film, max_seconds=2)) == len(read_audio(film))


def test_sound_after_a_gap_stays_on_the_clock(tmp_path):
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        samples = (tone(0.5, 16_000) * 32767).astype(np.int16)
        for start in (0.0, 2.0):
            for offset in range(0, len(samples), 1000):
                frame = av.AudioFrame.from_ndarray(samples[None, offset : offset + 1000], format="s16", layout="mono")
                frame.rate, frame.time_base = 16_000, Fraction(1, 16_000)
                frame.pts = round(start * 16_000) + offset
                container.mux(audio.encode(frame))
    sound = read_audio(path)
    assert len(sound) == pytest.approx(2.5 * 16_000, abs=100)
    loud = np.abs(sound) > 0.2
    assert loud[:7900].mean() > 0.5
    assert not loud[8200:31_800].any()
    assert loud[32_100:39_900].mean() > 0.5


def test_an_hour_of_silence_before_the_sound(tmp_path):
    path = write_film(tmp_path / "late.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5, tone(0.2), sound_delay_seconds=3700)
    with pytest.raises(MediaError) as raised:
        read_audio(path)
    assert raised.value.status == "too_long"


def test_the_coded_films_can_be_told_apart(tmp_path):
    for number, container in enumerate(CONTAINERS):
        path = write_coded_film(tmp_path / f"film.{container.suffix}", 2 * number, container)
        assert read_chord(read_audio(path)) == 2 * number
        if container.video:
            codes = [read_code(frame) for _, frame in read_frames(path)]
            assert set(codes) == {(2 * number, frame) for frame in range(NUM_FRAMES)}
    assert read_chord(chord(3, 1.0)[::3]) == read_chord(chord(3, 0.5)[::2]) == 3  # whatever the sample rate


def fuzz(folder: Path, numbers: range, seed: int) -> None:
    cases = make_cases(folder, numbers, seed)
    outcomes = list(run(cases, num_processes=2))
    assert len(outcomes) == len(cases)
    assert {case.kind for case in cases} == set(KINDS)
    failed = [(case, outcome) for case, outcome in zip(cases, outcomes, strict=True) if outcome.result in FAILURES]
    assert failed == []
    assert {"same", "unreadable"} <= {outcome.result for outcome in outcomes}


def test_no_mutant_crashes_or_is_taken_for_another_film(tmp_path):
    fuzz(tmp_path, range(0, len(KINDS) * len(CONTAINERS), 5), seed=0)


@pytest.mark.slow
def test_no_mutant_of_many_does(tmp_path):
    fuzz(tmp_path, range(2 * len(KINDS) * len(CONTAINERS)), seed=1)
