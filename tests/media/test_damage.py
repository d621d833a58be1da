"""A packet that does not decode costs itself: it is counted, the rest stays on the clock, and the clip is flagged."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest

from hicmae_core.config import FacesParams
from hicmae_core.inference.preprocessing import Preprocessor
from hicmae_core.media.decoding import MediaError, probe, read_audio, read_decoded_frames
from hicmae_core.media.packets import Damage
from hicmae_core.preparation.pool import ClipFiles
from hicmae_core.preparation.rows import audio_batch, faces_batch
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA
from tests.media.coded_films import CONTAINERS, Container, read_code
from tests.media.recordings import click_times, harmed, remux, write_recording

BY_SUFFIX = {container.suffix: container for container in CONTAINERS}
VP8 = Container("webm", "webm", "libvpx", "libopus")
MJPEG_AVI = Container("avi", "avi", "mjpeg", "pcm_s16le")
H264_AVI = Container("avi", "avi", "libx264", "libmp3lame")
H264_FLV = Container("flv", "flv", "libx264", "aac")
REFUSING_VIDEO = [BY_SUFFIX[s] for s in ("mp4", "mov", "mkv", "webm", "avi", "flv")] + [MJPEG_AVI, H264_AVI]
REFUSING_AUDIO = [BY_SUFFIX[s] for s in ("mp4", "mkv", "avi", "flv", "ts", "m4a")]
NUM_FRAMES = 50
FACES = FacesParams(detect_size=128, stride=5, size=32)


def name(container: Container) -> str:
    return f"{container.suffix}-{container.video}-{container.audio}"


def write_harmed(folder: Path, container: Container, kind: str, which: set[int]) -> tuple[Path, Path]:
    """A file, and the same with noise for some packets of its video or audio."""
    whole = write_recording(folder / f"whole.{container.suffix}", container, NUM_FRAMES, 2.0)
    path = folder / f"harmed.{container.suffix}"

    def change(stream: str, number: int, packet: av.Packet) -> av.Packet:
        return harmed(packet) if stream == kind and number in which else packet

    return whole, remux(whole, path, container, change)


def shown(path: Path, damage: Damage | None = None) -> list[int | None]:
    codes = [read_code(picture.rgb()) for _, picture in read_decoded_frames(path, damage=damage)]
    return [code and code[1] for code in codes]


@pytest.mark.parametrize("container", REFUSING_VIDEO, ids=name)
@pytest.mark.parametrize("which", [20, NUM_FRAMES - 1])
def test_a_bad_video_packet_costs_itself(tmp_path, container, which):
    whole, path = write_harmed(tmp_path, container, "video", {which})
    damage = Damage("video")
    frames, expected = shown(path, damage), shown(whole)
    assert len(frames) == len(expected)
    assert 1 <= damage.num_broken <= 2
    assert damage.num_packets in (NUM_FRAMES, NUM_FRAMES + 1)
    same = [frame == other for frame, other in zip(frames, expected, strict=True)]
    assert all(same[:16])
    if container.video == "mjpeg":
        assert same.count(False) == 1
        assert frames[which] in (which - 1, which + 1)
    np.testing.assert_array_equal(read_audio(path), read_audio(whole))


@pytest.mark.parametrize("container", [BY_SUFFIX["mov"], MJPEG_AVI], ids=name)
def test_a_bad_first_frame_costs_itself(tmp_path, container):
    _, path = write_harmed(tmp_path, container, "video", {0})
    assert probe(path).width == 160
    damage = Damage("video")
    assert shown(path, damage) == list(range(1, NUM_FRAMES))
    assert damage.num_broken == 1
    audio = read_audio(path)
    assert len(audio) == (NUM_FRAMES - 1) * 640
    assert click_times(audio)[0] == pytest.approx(0.25 - 0.04, abs=0.002)  # zero is the first frame that there is


@pytest.mark.parametrize("container", [BY_SUFFIX[s] for s in ("mp4", "mkv", "ts")] + [H264_FLV], ids=name)
@pytest.mark.parametrize(("key_distance", "is_refused"), [(4, False), (25, True)])
def test_what_is_lost_with_the_first_key_frame_is_bounded_in_every_container(
    tmp_path, container, key_distance, is_refused
):
    """Nothing is shown before the second key frame: half of this clip, where no length is declared as where one is."""
    whole = write_recording(
        tmp_path / f"whole.{container.suffix}", container, NUM_FRAMES, 2.0, key_distance=key_distance
    )

    def change(stream: str, number: int, packet: av.Packet) -> av.Packet | None:
        is_first = stream == "video" and number == 0
        return (None if container.suffix == "ts" else harmed(packet)) if is_first else packet

    path = remux(whole, tmp_path / f"harmed.{container.suffix}", container, change)
    if is_refused:
        with pytest.raises(MediaError, match=r"truncated|damaged"):
            shown(path)
    else:
        assert shown(path) == list(range(key_distance, NUM_FRAMES))


@pytest.mark.parametrize("container", REFUSING_AUDIO, ids=name)
@pytest.mark.parametrize("which", [0, 30, -1])
def test_a_bad_audio_packet_costs_itself(tmp_path, container, which):
    num_packets = 10**9
    if which < 0:
        with av.open(str(write_recording(tmp_path / f"a.{container.suffix}", container, NUM_FRAMES, 2.0))) as read:
            num_packets = sum(packet.size > 0 for packet in read.demux(audio=0))
    whole, path = write_harmed(tmp_path, container, "audio", {which % num_packets})
    damage = Damage("audio")
    audio, expected = read_audio(path, damage=damage), read_audio(whole)
    assert 1 <= damage.num_broken <= 3
    assert "audio packets do not decode" in damage.reason
    assert len(audio) == pytest.approx(len(expected), abs=0 if container.video else 1600)
    shift = (click_times(audio)[:, None] - click_times(expected)).ravel()
    assert np.sort(np.abs(shift))[:2].max() < 0.03  # one may be lost
    if container.video:
        assert shown(path) == shown(whole)


@pytest.mark.parametrize(
    ("kind", "container"), [("video", "mov"), ("video", "mkv"), ("audio", "mp4"), ("audio", "mkv")]
)
def test_more_than_a_tenth_is_refused_with_the_count(tmp_path, kind, container):
    def read(path: Path) -> object:
        return shown(path) if kind == "video" else read_audio(path)

    _, few = write_harmed(tmp_path, BY_SUFFIX[container], kind, {25, 29, 33, 37})
    read(few)
    _, many = write_harmed(tmp_path, BY_SUFFIX[container], kind, set(range(25, 45, 2)))
    with pytest.raises(MediaError, match=rf"is damaged: 1[0-2] of \d+ {kind} packets") as raised:
        read(many)
    assert raised.value.status == "unreadable"


def test_a_broken_key_frame_counts_for_all_that_is_predicted_from_it(tmp_path):
    whole, path = write_harmed(tmp_path, BY_SUFFIX["flv"], "video", {12})
    with av.open(str(whole)) as container:
        assert [p.is_keyframe for p in container.demux(video=0) if p.size][12]
    with pytest.raises(MediaError, match=r"damaged: 1[0-3] of 50 video packets"):
        shown(path)


def test_a_file_of_which_nothing_decodes_is_refused_alike(tmp_path):
    _, path = write_harmed(tmp_path, BY_SUFFIX["mov"], "video", set(range(NUM_FRAMES)))
    for read in (probe, shown, read_audio):
        with pytest.raises(MediaError, match="damaged: 50 of 50 video packets"):
            read(path)


def rows(batch: bytes, schema: pa.Schema) -> list[dict[str, Any]]:
    return pa.ipc.read_record_batch(pa.py_buffer(batch), schema).to_pylist()


def test_a_damaged_clip_is_kept_and_flagged(tmp_path):
    for kind, container in (("video", BY_SUFFIX["mov"]), ("audio", BY_SUFFIX["mkv"])):
        _, path = write_harmed(tmp_path, container, kind, {25})
        clip = ClipFiles("clip", path, path, "key")
        (faces,) = rows(faces_batch(clip, FACES, "single", 60, "cpu"), FACES_SCHEMA)
        (audio,) = rows(audio_batch(clip, 60), AUDIO_SCHEMA)
        flagged, other = (faces, audio) if kind == "video" else (audio, faces)
        assert flagged["status"] == "damaged"
        assert flagged["reason"].startswith("is damaged: 1 of ")
        assert other["status"] == "ok"
        assert faces["num_frames"] == NUM_FRAMES
        assert audio["num_samples"] == NUM_FRAMES * 640
        (face_sample,) = Preprocessor(FACES).preprocess(path)
        assert face_sample.usable
        assert (face_sample.track.status, face_sample.track.reason) == ("damaged", f"{path}: {flagged['reason']}")


def test_a_tenth_of_the_packets_may_be_damaged_and_no_more():
    path = Path("film.mp4")
    for num_packets in range(10, 1000, 10):
        Damage("video", num_packets, num_packets // 10).check(path)
        with pytest.raises(MediaError, match=f"{num_packets // 10 + 1} of {num_packets} video packets"):
            Damage("video", num_packets, num_packets // 10 + 1).check(path)
