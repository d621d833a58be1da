"""A clip is evaluated as its file is predicted, at any frame rate, and its windows last equally long."""

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pytest
import torch

from hicmae_core.config import DatasetParams, EvaluateParams, FacesParams, ModelParams
from hicmae_core.data.clips import ClipDataset
from hicmae_core.data.sampling import FrameStride
from hicmae_core.data.tensors import decode_frames
from hicmae_core.evaluation.prediction import predict
from hicmae_core.inference.explanation import explain
from hicmae_core.inference.preprocessing import detector_for
from hicmae_core.inference.video import open_video_reader
from hicmae_core.media.decoding import read_audio
from hicmae_core.media.faces import extract_face
from hicmae_core.media.waveform import log_mel
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore
from tests.media.films import tone

FACES = FacesParams(detector="none", size=48)
MODEL = ModelParams(size="demo", image_size=32, num_frames=4, frame_stride=6, num_audio_frames=96)
DATASET = DatasetParams(corpus="csv", classes=("a", "b", "c"), num_folds=2)
RATES = {"f24": Fraction(24), "f25": Fraction(25), "f2997": Fraction(30_000, 1001), "f30": Fraction(30),
         "f50": Fraction(50), "f60": Fraction(60)}  # fmt: skip
SECONDS = 3


def picture_at(seconds):
    """An image that is brighter the later it is shown, with a dark bar that moves."""
    image = np.full((48, 64, 3), 40 + 60 * seconds, np.uint8)
    image[:, int(seconds * 20) : int(seconds * 20) + 4] = 0
    return image


def write_at(path, rate):
    """One content at any rate: 3 s of `picture_at` with a tone that rises each second."""
    sound = np.concatenate([tone(1.0, 16_000, hertz) for hertz in (300, 1200, 4000)])
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("ffv1", rate=rate)
        video.pix_fmt, video.width, video.height = "bgr0", 64, 48
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for index in range(round(SECONDS * rate)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture_at(float(index / rate)), format="rgb24")))
        container.mux(video.encode(None))
        samples = (sound * 32767).astype(np.int16)
        for start in range(0, len(samples), 1600):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1600], format="s16", layout="mono")
            frame.rate, frame.pts = 16_000, start
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rates")
    return {name: write_at(folder / f"{name}.mkv", rate) for name, rate in RATES.items()}


def prepared(folder, files, **geometry):
    """Files as a corpus: in shards, made as the stages `faces` and `audio` make them."""
    faces, audio = [], []
    for clip_id, path in files.items():
        track, samples = extract_face(path, FACES, detector_for(FACES, "cpu")), read_audio(path)
        faces.append({"clip_id": clip_id, "fps": track.fps, "frames": track.frames})
        audio.append({"clip_id": clip_id, "num_samples": len(samples), "fbank": list(log_mel(samples))})
    write_shards(folder / "faces", faces, FACES_SCHEMA, num_shards=1)
    write_shards(folder / "audio", audio, AUDIO_SCHEMA, num_shards=1)
    stores = ClipStore(folder / "faces"), ClipStore(folder / "audio")
    labels = np.zeros(len(files), np.int64)
    return ClipDataset(*stores, list(files), labels, MODEL.model_copy(update=geometry))


def reader_of(folder, clips, modality="both"):
    """A reader of a model that says of its clips what fine-tuning says."""
    torch.manual_seed(0)
    model = classifier("demo", 3, image_size=32, num_frames=4, num_audio_frames=96, modality=modality)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    metadata = {"classes": list(DATASET.classes), "targets": [], "faces": FACES.model_dump(mode="json")}
    save_model(folder / "model.safetensors", model, metadata | clips.stride.metadata)
    return open_video_reader(folder / "model.safetensors", None, 2, torch.device("cpu"))


MIXED = list(RATES)
CORPORA = [(["f24"], "both"), (["f25"], "both"), (["f30"], "both"), (["f50"], "both"), (["f60"], "both"),
           (["f25", "f25", "f60"], "both"), (MIXED, "both"), (MIXED, "video"), (MIXED, "audio")]  # fmt: skip


@pytest.mark.parametrize("unit", ["seconds", "frames"])
@pytest.mark.parametrize(("corpus", "modality"), CORPORA, ids=str)
def test_evaluation_and_prediction_agree(files, tmp_path, corpus, unit, modality):
    chosen = {f"{name}_{number}": files[name] for number, name in enumerate(corpus)}
    clips = dataclasses.replace(prepared(tmp_path, chosen, stride_unit=unit), modality=modality)
    reader = reader_of(tmp_path, clips, modality)
    table = predict(reader.model, clips, DATASET, EvaluateParams(), torch.device("cpu"))
    evaluated = table[[f"p_{name}" for name in DATASET.classes]].to_numpy()
    for row, path in zip(evaluated, chosen.values(), strict=True):  # a store holds log-mel values as float16
        assert list(reader.predict(path).values.values()) == pytest.approx(row.tolist(), abs=1e-3)
        assert list(explain(reader, path, 60).values.values()) == pytest.approx(row.tolist(), abs=1e-3)
    assert evaluated.std(axis=1).min() > 0.02


def seconds_of(frames):
    """When the images of face crops ``[..., S, S, 3]`` are shown, by their brightness."""
    return (np.median(frames.numpy(), axis=(-3, -2, -1)) - 40) / 60


def test_windows_of_a_mixed_corpus_last_equally_long(files, tmp_path):
    clips = prepared(tmp_path, files)
    assert clips.stride == FrameStride(6, "seconds", pytest.approx(30_000 / 1001))
    batch = clips.test_batch(range(len(files)), num_segments=3)
    starts = seconds_of(batch.frames)
    frame = 1 / 24 + 2 / 60  # half a frame at each end, and a step of brightness
    np.testing.assert_allclose(np.diff(starts, axis=2), 0.2, atol=frame)
    np.testing.assert_allclose(starts, np.broadcast_to(starts[3], starts.shape), atol=frame)
    torch.testing.assert_close(batch.audio, batch.audio[3].expand_as(batch.audio), atol=0.3, rtol=0)

    index = list(files).index("f60")
    lengths = []
    for seed in range(20):
        frames = clips.training_batch([index], [np.random.default_rng(seed)]).frames
        lengths.append(np.ptp(seconds_of(frames)))
    np.testing.assert_allclose(lengths, 0.6, atol=frame)


def test_own_frames_are_counted_as_published(files, tmp_path):
    clips = prepared(tmp_path, files, stride_unit="frames")
    for index, rate in enumerate(RATES.values()):
        times = seconds_of(clips.test_batch([index], num_segments=1).frames[0, 0])
        np.testing.assert_allclose(np.diff(times), float(6 / rate), atol=2 / 60)
        frames = clips.training_batch([index], [np.random.default_rng(0)]).frames[0]
        np.testing.assert_allclose(np.diff(seconds_of(frames)), float(6 / rate), atol=2 / 60)


def test_the_usual_rate_is_that_of_most_clips_and_of_all_folds(files, tmp_path):
    some = {f"clip{number}": files[name] for number, name in enumerate(["f60", "f25", "f25", "f50", "f24"])}
    clips = prepared(tmp_path, some)
    assert clips.stride.usual_fps == 25
    assert dataclasses.replace(clips, clip_ids=["clip0"], labels=None).stride.usual_fps == 25
    two = prepared(tmp_path / "two", {name: files[name] for name in ("f24", "f60")})
    assert two.stride.usual_fps == 24, "a rate that a clip has, not one between two"


def test_a_corpus_of_one_rate_is_sampled_as_published(files, tmp_path):
    for name in ("f24", "f50", "f60"):
        clips = prepared(tmp_path / name, {name: files[name]})
        own = dataclasses.replace(clips, model=clips.model.model_copy(update={"stride_unit": "frames"}))
        one, other = (c.test_batch([0], num_segments=2) for c in (clips, own))
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.audio, other.audio)


def test_sound_without_video_has_windows_that_last_as_long(files, tmp_path):
    clips = prepared(tmp_path, {"f60": files["f60"]})
    reader = reader_of(tmp_path, clips, "audio")
    path = tmp_path / "alone.mkv"
    with av.open(str(files["f60"])) as whole, av.open(str(path), "w") as alone:
        stream = alone.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(whole.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                alone.mux(packet)
    found, expected = (reader.predict(file) for file in (path, files["f60"]))
    assert found.windows == expected.windows
    assert found.values == expected.values
    assert explain(reader, path, 60).values == pytest.approx(expected.values, abs=1e-5)


def test_frames_are_shared_by_the_windows_of_a_timeline(files, tmp_path):
    clips = prepared(tmp_path, {name: files[name] for name in ("f25", "f60")})
    reader = reader_of(tmp_path, clips)
    ((window_outputs,),) = reader.all_window_outputs([files["f60"]], hop_seconds=0.24)
    windows = window_outputs.timeline.windows
    shown = np.concatenate([window.frames for window in windows])
    assert len(windows) > 5
    assert len(set(shown.tolist())) == len(windows) + 3
    crops = decode_frames(pa.array(window_outputs.face_sample.track.frames, pa.binary()), windows[0].frames)
    np.testing.assert_allclose(seconds_of(crops), [0, 0.24, 0.48, 0.72], atol=2 / 60)
