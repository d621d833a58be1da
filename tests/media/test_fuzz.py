import io
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.fuzz import FAILURES, KINDS, make_cases, run
from hicmae_core.config import FacesParams
from hicmae_core.media.decoding import MediaError, read_audio, read_frames
from hicmae_core.media.detection import CenterFace
from hicmae_core.media.faces import extract_face
from hicmae_core.media.opening import MAX_FRAME_RATE
from tests.media.coded_films import CONTAINERS, NUM_FRAMES, chord, read_chord, read_code, write_coded_film
from tests.media.films import tone, write_film
from tests.media.mutants import flipped_payload

BY_SUFFIX = {container.suffix: container for container in CONTAINERS}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_film(tmp_path_factory.mktemp("film") / "film.mp4", 3, BY_SUFFIX["mp4"])


def refused_pictures(path: Path) -> MediaError:
    with pytest.raises(MediaError) as raised:
        list(read_frames(path))
    return raised.value


def write_at_rate(path: Path, rate: int, seconds_per_frame: Fraction) -> Path:
    """Ten images in a file whose header tells the rate."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"bf": "0"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, 12_800)
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(index * seconds_per_frame * 12_800), Fraction(1, 12_800)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def test_an_absurd_frame_rate(tmp_path):
    path = write_at_rate(tmp_path / "fast.mp4", 2 * MAX_FRAME_RATE, Fraction(1, 2 * MAX_FRAME_RATE))
    assert "frame rate" in refused_pictures(path).reason


def test_an_absurd_rate_in_the_header_of_a_sound_film(tmp_path):
    path = write_at_rate(tmp_path / "film.mkv", 12_800, Fraction(1, 25))
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate > MAX_FRAME_RATE
    assert [time for time, _ in read_frames(path)] == pytest.approx([index / 25 for index in range(10)])


def test_broken_frames_are_counted(film, tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(flipped_payload(film.read_bytes(), b"", np.random.default_rng(1)))
    error = refused_pictures(path)
    assert error.status == "unreadable"
    assert "damaged" in error.reason


@pytest.mark.parametrize(("suffix", "word"), [("ts", "jump"), ("mkv", "jump"), ("avi", "declares")])
def test_two_films_in_one_file_are_refused_not_mixed(tmp_path, suffix, word):
    films = [write_coded_film(tmp_path / f"{number}.{suffix}", number, BY_SUFFIX[suffix]) for number in (5, 7)]
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(b"".join(film.read_bytes() for film in films))
    assert word in refused_pictures(path).reason


def test_pictures_whose_size_changes_midway(tmp_path):
    path = tmp_path / "sizes.ts"
    buffer = io.BytesIO()
    for part, side in enumerate((160, 96)):
        with av.open(buffer, "w", format="mpegts", options={"mpegts_copyts": "1"}) as container:
            video = container.add_stream("mpeg2video", rate=25)
            video.width = video.height = side
            video.pix_fmt = "yuv420p"
            for index in range(5):
                frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 90, np.uint8), format="rgb24")
                frame.pts, frame.time_base = 5 * part + index, Fraction(1, 25)
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
    fuzz(tmp_path, range(0, len(KINDS) * len(CONTAINERS), 7), seed=0)


@pytest.mark.slow
def test_no_mutant_of_many_does(tmp_path):
    fuzz(tmp_path, range(2 * len(KINDS) * len(CONTAINERS)), seed=1)
