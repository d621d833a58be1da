"""`hicmae.load`: what the command predicts, in Python."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import hicmae
from hicmae_core.media.decoding import read_audio, read_frames
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.media.films import background, talking_head, tone, write_film

FACES = {"detect_size": 256, "size": 48}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and three videos, outside any project."""
    folder = tmp_path_factory.mktemp("library")
    torch.manual_seed(0)
    model = classifier("demo", 3, image_size=32, num_frames=4, num_audio_frames=32)
    torch.nn.init.normal_(model.head.weight, std=0.02)
    about = {"classes": ["a", "b", "c"], "targets": [], "frame_stride": 4, "faces": FACES}
    save_model(folder / "model.safetensors", model, about)
    frames, _ = talking_head(50)
    write_film(folder / "one.mp4", frames, tone(2.0))
    write_film(folder / "faceless.mp4", [background()] * 50, tone(2.0, hertz=300))
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return hicmae.load(folder)


def command(folder: Path, *arguments: str) -> str:
    code = "import sys; from hicmae.cli.app import main; sys.argv[0] = 'hicmae'; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_predicts_what_the_command_predicts(folder, model, monkeypatch):
    monkeypatch.chdir(folder)
    names = ["one.mp4", "faceless.mp4", "broken.mp4"]
    predictions = model.predict(names, num_processes=0)
    printed = command(folder, "predict", *names, "--model", ".", "--json", "--processes", "0")
    assert predictions.records() == json.loads(printed)
    assert [video.main.status for video in predictions] == ["ok", "ok", "unreadable"]
    table = pd.read_csv(
        io.StringIO(command(folder, "predict", *names, "--model", ".", "--csv", "-", "--processes", "0"))
    )
    frame = predictions.to_frame()
    assert list(frame) == list(table)
    assert frame[["a", "b", "c"]].to_numpy() == pytest.approx(table[["a", "b", "c"]].to_numpy(), abs=1e-12, nan_ok=True)
    (one,) = model.predict("one.mp4")
    assert one.main.values == predictions[0].main.values
    assert repr(predictions).splitlines()[0].startswith("one.mp4: ")
    assert "broken.mp4: unreadable: " in repr(predictions)


def test_a_clip_in_memory_is_predicted_as_its_file(folder, model):
    path = folder / "one.mp4"
    frames = np.stack([frame for _, frame in read_frames(path)])
    clip = hicmae.Clip(frames, 25.0, read_audio(path), 16_000, name="from memory")
    found, expected = model.predict([clip, path], num_processes=0)
    assert found.video == "from memory"
    assert found.main.values == pytest.approx(expected.main.values, abs=2e-3)
    assert model.predict(hicmae.Clip(frames, 25.0))[0].main.used == "video"
    assert model.predict(hicmae.Clip(waveform=read_audio(path)))[0].main.used == "audio"


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (hicmae.Clip(), "neither frames nor a waveform"),
        (hicmae.Clip(np.zeros((2, 8, 8, 3))), r"frames are float64 \(2, 8, 8, 3\), not uint8"),
        (hicmae.Clip(waveform=np.zeros((2, 100))), r"the waveform has the shape \(2, 100\)"),
    ],
)
def test_an_unusable_clip_is_an_error(model, clip, words):
    with pytest.raises(ValueError, match=words):
        model.predict(clip)


def test_features_and_explanations(folder, model):
    out = folder / "features.parquet"
    command(folder, "embed", "one.mp4", "--model", ".", "--out", str(out))
    written, found = pd.read_parquet(out), model.embed(folder / "one.mp4")
    assert list(found) == list(written)
    assert np.array_equal(found["features"][0], written["features"][0])
    assert len(found["features"][0]) == model.module.head.in_features
    explanation = model.explain(folder / "one.mp4")
    assert explanation.values == pytest.approx(model.predict(folder / "one.mp4")[0].main.values, abs=1e-5)
    assert set(explanation.shown) == {"both", "video", "audio"}


def test_the_network_is_a_module(model):
    assert isinstance(model.module, torch.nn.Module)
    assert (model.classes, model.targets) == (("a", "b", "c"), ())
    with pytest.raises(ValueError, match="no such file"):
        hicmae.load("nowhere.safetensors")
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        hicmae.lod  # noqa: B018
