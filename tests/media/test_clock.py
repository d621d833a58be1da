"""Audio and video of one file keep one clock, whatever its header declares and whichever packets are missing."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from hicmae_core.media.decoding import MediaError, probe, read_audio, read_frames
from tests.media.coded_films import CONTAINERS, FPS, SIDE, Container, coded_frame, read_code
from tests.media.recordings import click_times, clicks, encode_audio, remux, write_recording

BY_SUFFIX = {container.suffix: container for container in CONTAINERS}
PCM = Container("mkv", "matroska", "libx264", "pcm_s16le")
VP8 = Container("webm", "webm", "libvpx", "libopus")
LIVE = Container("mkv", "matroska", "libx264", "aac", (("live", "1"),))
H264_AVI = Container("avi", "avi", "libx264", "libmp3lame")
H264_FLV = Container("flv", "flv", "libx264", "aac")
FRAGMENTED = Container("mp4", "mp4", "libx264", "aac", (("movflags", "frag_keyframe+empty_moov"),))
WITH_VIDEO = [c for c in CONTAINERS if c.video] + [PCM, VP8, LIVE, H264_AVI, H264_FLV, FRAGMENTED]


def name(container: Container) -> str:
    return f"{container.suffix}-{container.video}-{container.audio}" + "-".join(v for _, v in container.options)


def numbers(path: Path) -> list[int | None]:
    codes = [read_code(frame) for _, frame in read_frames(path)]
    return [code and code[1] for code in codes]


def rate_of(container: Container) -> int:
    return 48_000 if container.audio == "libopus" else 44_100


@pytest.mark.parametrize("audio_seconds", [1.2, 3.1])
@pytest.mark.parametrize("container", WITH_VIDEO, ids=name)
def test_there_is_audio_for_the_frames_and_no_more(tmp_path, container, audio_seconds):
    path = write_recording(tmp_path / f"clip.{container.suffix}", container, 50, audio_seconds, rate_of(container))
    frames, audio, info = numbers(path), read_audio(path), probe(path)
    assert len(audio) / 16_000 == pytest.approx(len(frames) / info.fps, abs=1e-4)
    assert info.num_frames == len(frames)
    legible = [number for number in frames if number is not None]
    assert legible == sorted(legible)
    assert len(set(legible)) >= (25 if container.suffix in ("mpg", "wmv") else 50)
    assert len(frames) - 50 in (0, 1)  # MPEG-4 in AVI has a gap behind its first frame
    heard = click_times(audio)
    expected = np.arange(0.25, min(audio_seconds, 2.0), 0.5)
    assert len(heard) == len(expected)
    assert np.abs(heard - expected).max() < 0.06  # encoders' delays, which not every container records
    assert np.ptp(heard - expected) < 0.003


@pytest.mark.parametrize("num_b_frames", ["0", "2"])
def test_an_avi_with_twice_as_many_places_as_frames_is_as_fast_as_any_other(tmp_path, num_b_frames):
    """What `ffmpeg -c copy` makes of H.264 at 25 frames a second: 50 places a second, every other one empty."""
    path = tmp_path / "copied.avi"
    with av.open(str(path), "w", format="avi") as output:
        video = output.add_stream("libx264", rate=2 * FPS, options={"bf": num_b_frames, "crf": "20"})
        video.width, video.height, video.pix_fmt = SIDE, SIDE, "yuv420p"
        audio = output.add_stream("libmp3lame", rate=44_100, layout="mono")
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(coded_frame(0, number), format="rgb24")
            frame.pts, frame.time_base = 2 * number, Fraction(1, 2 * FPS)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        encode_audio(output, audio, clicks(2.0, 44_100))
    info, frames, heard = probe(path), numbers(path), click_times(read_audio(path))
    assert info.fps == FPS
    assert abs(info.num_frames - len(frames)) <= 1
    assert sorted(set(frames)) == list(range(50))
    assert len(frames) in (50, 51)
    assert heard == pytest.approx(np.arange(0.25, 2, 0.5), abs=0.04)


@pytest.mark.parametrize("share", [0.92, 1.08])
def test_a_wrong_length_in_the_header_changes_nothing(tmp_path, share):
    path = write_recording(tmp_path / "clip.avi", BY_SUFFIX["avi"], 50, 3.0, 44_100)
    num_frames = len(numbers(path))
    content = bytearray(path.read_bytes())
    at = content.index(b"strh") + 40
    content[at : at + 4] = round(num_frames * share).to_bytes(4, "little")
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert container.streams.video[0].duration == round(num_frames * share)
    assert len(numbers(path)) == num_frames
    assert len(read_audio(path)) == num_frames * 640


@pytest.mark.parametrize("container", [BY_SUFFIX["mkv"], BY_SUFFIX["webm"], H264_FLV], ids=name)
def test_half_a_file_is_refused_where_only_the_file_declares_its_length(tmp_path, container):
    whole = write_recording(tmp_path / f"whole.{container.suffix}", container, 50, 2.0, rate_of(container))
    path = tmp_path / f"half.{container.suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for read in (numbers, read_audio):
        with pytest.raises(MediaError, match="truncated"):
            read(path)


@pytest.mark.parametrize("suffix", ["mp3", "aac"])
def test_a_length_that_ffmpeg_guesses_is_not_taken_for_declared(tmp_path, suffix):
    path = tmp_path / f"quiet_at_first.{suffix}"
    audio = np.zeros((1, 10 * 44_100), np.float32)
    audio[:, 2 * 44_100 :] = np.random.default_rng(0).normal(0, 0.2, (1, 8 * 44_100))
    formats = {"mp3": ("libmp3lame", "mp3", {"write_xing": "0"}), "aac": ("aac", "adts", {})}
    codec, file_format, options = formats[suffix]
    with av.open(str(path), "w", format=file_format, options=options) as output:
        stream = output.add_stream(codec, rate=44_100)
        stream.layout, stream.bit_rate = "mono", 128_000 if suffix == "aac" else 0
        if suffix == "mp3":
            stream.codec_context.qscale = True  # the bit rate follows what is heard
        encode_audio(output, stream, audio)
    with av.open(str(path)) as container:
        assert container.duration > 12 * av.time_base
    assert len(read_audio(path, max_seconds=11)) == pytest.approx(160_000, abs=1500)
    assert probe(path).duration_seconds == pytest.approx(10, abs=0.1)


def without_quiet_packets(kind: str, number: int, packet: av.Packet) -> av.Packet | None:
    """Leaves out the tenth of a second before each click, as a call that drops packets: five times 20 ms."""
    time = float(packet.pts * packet.time_base)
    return None if kind == "audio" and 0.1 < time % 0.5 < 0.2 else packet


@pytest.mark.parametrize("suffix", ["webm", "mkv", "mp4", "flv", "ts"])
def test_short_gaps_do_not_add_up(tmp_path, suffix):
    container = {**BY_SUFFIX, "flv": H264_FLV}[suffix]
    whole = write_recording(tmp_path / f"whole.{suffix}", container, 175, 7.0, rate_of(container))
    gappy = remux(whole, tmp_path / f"gappy.{suffix}", container, without_quiet_packets)
    expected = click_times(read_audio(whole))
    heard = click_times(read_audio(gappy))
    assert len(heard) == 14
    assert np.abs(heard - expected).max() < 0.045


def write_audio_at(path: Path, starts: list[float], frame_seconds: float, seconds: float) -> Path:
    """Clicks in frames that a file says begin at `starts`; frame n holds what was recorded at ``n frame_seconds``."""
    samples = (clicks(seconds, 16_000) * 32767).astype(np.int16)
    size = round(frame_seconds * 16_000)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for number, start in enumerate(starts):
            packet = av.Packet(samples[:, number * size : (number + 1) * size].tobytes())
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            output.mux(packet)
    return path


def test_audio_that_comes_too_early_each_time_does_not_add_up(tmp_path):
    starts = [0.1 * number - 0.02 * (number % 5) for number in range(40)]  # up to 80 ms early
    heard = click_times(read_audio(write_audio_at(tmp_path / "early.mkv", starts, 0.1, 4.0)))
    assert np.abs(heard - np.arange(0.25, 4, 0.5)).max() < 0.09
    compressed = [0.08 * number for number in range(40)]  # each frame 20 ms before the end of the last
    audio = read_audio(write_audio_at(tmp_path / "overlaps.mkv", compressed, 0.1, 4.0))
    assert len(audio) / 16_000 == pytest.approx(3.22, abs=0.045)
    expected = 0.08 * np.arange(2.5, 40, 5) + 0.01
    heard = click_times(audio)
    assert len(heard) >= 6  # one may lie where the next frame takes over
    assert all(np.abs(expected - time).min() < 0.045 for time in heard)


def test_times_rounded_to_milliseconds_leave_the_samples_alone(tmp_path):
    for frame_seconds in (0.0213125, 0.0104375, 0.1):  # 341, 167 and 1600 samples
        num_frames = int(3 / frame_seconds)
        path = write_audio_at(
            tmp_path / "rounded.mkv", [n * frame_seconds for n in range(num_frames)], frame_seconds, 3
        )
        samples = (clicks(3, 16_000) * 32767).astype(np.int16)[0, : num_frames * round(frame_seconds * 16_000)]
        np.testing.assert_array_equal(read_audio(path), samples.astype(np.float32) / 32768)


def test_a_clock_that_is_slow_is_followed(tmp_path):
    starts = [0.102 * number for number in range(100)]  # 2 %, 0.2 s in ten
    heard = click_times(read_audio(write_audio_at(tmp_path / "slow.mkv", starts, 0.1, 10.0)))
    assert np.abs(heard - 1.02 * np.arange(0.25, 10, 0.5)).max() < 0.045


def write_blocks_at(path: Path, source: Path, shifts: dict[int, float], stream: int = 0) -> Path:
    """A Matroska file with other times in the headers of some blocks of a stream, seconds later."""
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        blocks = [bytes(packet) for packet in container.demux(container.streams[stream]) if packet.size]
    for number, seconds in shifts.items():
        at = content.index(blocks[number]) - 3
        time = int.from_bytes(content[at : at + 2], "big", signed=True) + round(seconds * 1000)
        content[at : at + 2] = time.to_bytes(2, "big", signed=True)
    path.write_bytes(content)
    return path


def test_a_first_frame_that_claims_to_come_late_takes_no_other_along(tmp_path):
    container = Container("mkv", "matroska", "mjpeg", "pcm_s16le")
    whole = write_recording(tmp_path / "whole.mkv", container, 30, 1.2)
    late = write_blocks_at(tmp_path / "late.mkv", whole, {0: 0.2}, stream=1)
    np.testing.assert_allclose(click_times(read_audio(late)), click_times(read_audio(whole)), atol=0.002)


def test_small_steps_back_do_not_add_up(tmp_path):
    video = write_recording(tmp_path / "video.mkv", Container("mkv", "matroska", "mjpeg", "pcm_s16le"), 30, 1.0)
    audio = write_audio_at(tmp_path / "audio.mkv", [0.1 * number for number in range(30)], 0.1, 3.0)
    once = write_blocks_at(tmp_path / "once.mkv", video, {10: -0.3})
    assert len(numbers(once)) == 30
    back = write_blocks_at(tmp_path / "back.mkv", video, {25: -0.3, 26: -0.6, 27: -0.9})
    with pytest.raises(MediaError, match="jump"):
        numbers(back)
    once = write_blocks_at(tmp_path / "once.mkv", audio, {10: -0.3})
    assert len(read_audio(once)) == 48_000
    back = write_blocks_at(tmp_path / "back.mkv", audio, {10: -0.3, 11: -0.6, 12: -0.9, 13: -1.2})
    with pytest.raises(MediaError, match="jumps"):
        read_audio(back)


def write_program(path: Path, parts: list[tuple[str, int, str, int]], part_seconds: float = 1.5) -> Path:
    """A transport stream whose audio changes from part to part: codec, rate, layout; and so does the video's width."""
    content = io.BytesIO()
    for number, (codec, rate, layout, width) in enumerate(parts):
        start = number * part_seconds
        options = {"mpegts_copyts": "1"}
        with av.open(content, "w", format="mpegts", options=options) as output:
            video = output.add_stream("mpeg2video", rate=FPS)
            video.width, video.height, video.pix_fmt, video.bit_rate = width, SIDE, "yuv420p", 3_000_000
            audio = output.add_stream(codec, rate=rate)
            audio.layout, audio.bit_rate = layout, 192_000
            for index in range(round(part_seconds * FPS)):
                image = np.full((SIDE, width, 3), 100, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index + round(start * FPS), Fraction(1, FPS)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
            channels = audio.codec_context.layout.nb_channels
            encode_audio(output, audio, clicks(part_seconds, rate, channels), start)
    path.write_bytes(content.getvalue())
    return path


@pytest.mark.parametrize(
    "parts",
    [
        [("aac", 48_000, "stereo", 160), ("aac", 48_000, "mono", 160)],
        [("aac", 44_100, "mono", 160), ("aac", 48_000, "stereo", 160), ("aac", 44_100, "mono", 160)],
        [("ac3", 48_000, "5.1", 160), ("ac3", 48_000, "stereo", 160)],
        [("mp2", 48_000, "stereo", 160), ("mp2", 32_000, "mono", 96)],
    ],
)
def test_audio_that_changes_its_format_midway_goes_on(tmp_path, parts):
    path = write_program(tmp_path / "program.ts", parts)
    audio = read_audio(path)
    frames = [frame for _, frame in read_frames(path)]
    assert len(audio) == len(frames) * 640
    heard = click_times(audio)
    expected = np.concatenate([1.5 * number + np.arange(0.25, 1.5, 0.5) for number in range(len(parts))])
    assert len(heard) == len(expected)
    assert np.ptp(heard - expected) < 0.05
    assert {frame.shape[1] for frame in frames} == {width for *_, width in parts}
