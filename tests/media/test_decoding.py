import pickle
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from hicmae_core.media.decoding import MediaError, probe, read_audio, read_frames
from tests.media.films import tone, write_film


def grey(level: int) -> np.ndarray:
    return np.full((64, 96, 3), level, np.uint8)


def levels(path: Path) -> list[int]:
    return [round(float(frame.mean())) for _, frame in read_frames(path)]


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """`samples` int16, ``[num_samples, channels]``."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def test_probe(films):
    info = probe(films / "good.mp4")
    assert (info.fps, info.num_frames, info.width, info.height) == (25.0, 50, 320, 240)
    assert info.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert info.has_video
    assert info.has_audio
    assert not probe(films / "silent.mp4").has_audio
    assert probe(films / "really_mp4.avi") == info


def test_every_frame_of_a_constant_rate_comes_once(tmp_path):
    expected = list(range(30, 230, 4))
    path = write_film(tmp_path / "levels.mp4", [grey(level) for level in expected])
    assert np.abs(np.array(levels(path)) - expected).max() <= 1.5
    times = [time for time, _ in read_frames(path)]
    assert times == pytest.approx([k / 25 for k in range(len(expected))])


def test_variable_rate_becomes_constant_by_nearest_time(tmp_path):
    times = [0.0, 0.04, 0.07, 0.12, 0.31, 0.33, 0.36, 0.38, 0.40, 0.60]
    shown = list(range(30, 230, 20))
    path = write_film(tmp_path / "variable.mp4", [grey(level) for level in shown], frame_seconds=times)
    fps = probe(path).fps
    nearest = [shown[int(np.argmin(np.abs(np.array(times) - time)))] for time, _ in read_frames(path)]
    assert np.abs(np.array(levels(path)) - nearest).max() <= 1.5
    assert [time for time, _ in read_frames(path)] == pytest.approx([k / fps for k in range(len(nearest))])
    assert len(nearest) / fps == pytest.approx(times[-1] + 1 / fps, abs=1 / fps)


def test_rotation_is_applied(tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 255
    path = write_film(tmp_path / "upright.mp4", [picture] * 5)
    content = bytearray(path.read_bytes())
    one, corner = 1 << 16, 1 << 30
    upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, corner)
    clockwise = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, corner)
    at = content.index(upright, content.index(b"tkhd"))
    content[at : at + 36] = clockwise
    path.write_bytes(content)
    assert (probe(path).width, probe(path).height) == (64, 96)
    _, frame = next(read_frames(path))
    assert frame.shape == (96, 64, 3)
    assert frame[:44].mean() > 240  # the left half has become the upper half
    assert frame[52:].mean() < 15


def test_16_khz_samples_come_through_unchanged(tmp_path):
    samples = np.random.default_rng(0).integers(-20_000, 20_000, (5000, 1), dtype=np.int16)
    read = read_audio(write_wav(tmp_path / "plain.wav", samples, 16_000))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, samples[:, 0].astype(np.float32) / 32768)


def test_stereo_is_averaged_and_resampled(tmp_path):
    wave_ = np.stack([tone(1.0, 48_000), tone(1.0, 48_000)], 1)
    path = write_wav(tmp_path / "stereo.wav", (wave_ * 32767).astype(np.int16), 48_000)
    read = read_audio(path)
    assert len(read) == pytest.approx(16_000, abs=20)
    np.testing.assert_allclose(read[1000:15_000], tone(1.0, 16_000)[1000:15_000], atol=0.01)


@pytest.mark.parametrize("delay_seconds", [0.0, 0.3, 0.8])
def test_sound_lies_on_the_clock_of_the_pictures(tmp_path, delay_seconds):
    path = write_film(tmp_path / "late.mp4", [grey(90)] * 50, tone(1.0), sound_delay_seconds=delay_seconds)
    read = read_audio(path)
    assert len(read) == 32_000  # 50 frames at 25 per second
    loud = np.flatnonzero(np.abs(read) > 0.2)
    assert loud[0] / 16_000 == pytest.approx(delay_seconds, abs=0.03)
    assert loud[-1] / 16_000 == pytest.approx(delay_seconds + 1, abs=0.03)


def test_sound_beyond_the_video_is_cut(tmp_path):
    assert len(read_audio(write_film(tmp_path / "long.mp4", [grey(90)] * 25, tone(3.0)))) == 16_000


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("absent.mp4", "missing"),
        ("zero.mp4", "zero_byte"),
        ("text.mp4", "unreadable"),
        ("text.txt", "unreadable"),
        ("picture.mp4", "unreadable"),
        ("headless.mp4", "unreadable"),
        ("truncated.mp4", "unreadable"),
        (".", "missing"),
    ],
)
def test_a_bad_file_is_named_with_a_status(films, name, status):
    for read in (lambda path: list(read_frames(path)), read_audio):
        with pytest.raises(MediaError, match=r"films.*: ") as raised:
            read(films / name)
        assert raised.value.status == status
        assert raised.value.path == films / name
    if name != "truncated.mp4":  # its header and first frame are whole
        with pytest.raises(MediaError):
            probe(films / name)


def test_a_missing_stream_has_its_own_status(films, tmp_path):
    with pytest.raises(MediaError) as raised:
        read_audio(films / "silent.mp4")
    assert raised.value.status == "no_sound"
    sound_only = write_wav(tmp_path / "sound.wav", np.ones((800, 1), np.int16), 16_000)
    with pytest.raises(MediaError) as raised:
        next(read_frames(sound_only))
    assert raised.value.status == "no_video"
    assert not probe(sound_only).has_video


def test_an_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(MediaError(Path("a.mp4"), "no_sound", "has no audio stream")))
    assert (error.status, str(error)) == ("no_sound", "a.mp4: has no audio stream")
