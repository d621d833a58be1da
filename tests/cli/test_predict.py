"""`hicmae predict`: tables, JSON, CSV, exit codes."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from hicmae_core.config import CorpusParams
from hicmae_core.demo.performance import FRAME_RATE_HZ
from hicmae_core.demo.rendering import Studio
from hicmae_core.demo.script import write_script
from hicmae_core.media.decoding import read_audio, read_frames
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.media.films import write_film


def test_files_are_answered_in_every_form(hicmae, folder):
    ask = ("predict", "one.mp4", "two [1].mp4", "none.mp4", "--model", "model.safetensors")
    result = hicmae(*ask, "--json", "--csv", "out.csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    records = json.loads(result.stdout)
    assert [record["status"] for record in records] == ["ok", "ok", "missing"]
    assert sum(records[0]["probabilities"].values()) == pytest.approx(1)
    assert records[0]["prediction"] in ("sad", "glad")
    assert len(records[0]["windows"]) == 3
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text())))
    assert [row["part"] for row in rows] == ["clip", "window", "window", "window"] * 2 + ["clip"]
    assert float(rows[1]["glad"]) == pytest.approx(records[0]["windows"][0]["probabilities"]["glad"])
    assert rows[-1]["reason"] == "none.mp4: no such file"


def test_a_table_and_its_exit_codes(hicmae, folder):
    answered = hicmae("predict", ".", "--model", ".", cwd=folder)
    assert answered.returncode == 0, answered.stderr
    assert "two [1].mp4" in answered.stdout
    assert "Traceback" not in answered.stderr
    nothing = hicmae("predict", "none.mp4", "--model", "model.safetensors", cwd=folder)
    assert nothing.returncode == 1
    assert nothing.stdout == "none.mp4: no prediction, missing: no such file\n"
    assert hicmae("predict", "one.mp4", "--hop", "-1", cwd=folder).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one.mp4"], "name a model with --model"),
        (["one.mp4", "--model", "none.safetensors"], "none.safetensors: no such file"),
        (["one.mp4", "--json", "--csv", "-"], "would both print"),
        (["*.avi"], "no file fits this pattern"),
        (["one.mp4", "--model", ".", "--abstain", "0.2"], "no speakers were held out from this model's training"),
    ],
)
def test_mistakes_are_told_in_one_sentence(hicmae, folder, arguments, words):
    result = hicmae("predict", *arguments, cwd=folder)
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def two_speakers(tmp_path_factory):
    """Two faces of the demo corpus side by side, and a model that finds faces."""
    folder = tmp_path_factory.mktemp("two")
    clips, _ = write_script(CorpusParams(num_speakers=4, num_takes=1, min_seconds=2.4, max_seconds=2.4), FRAME_RATE_HZ)
    left, right = clips[0], next(clip for clip in clips if clip.speaker.name != clips[0].speaker.name)
    studio = Studio()
    for clip in (left, right):
        studio.render(clip, folder)
    sides = [[image for _, image in read_frames(folder / clip.file)] for clip in (left, right)]
    beside = [np.hstack(pair) for pair in zip(*sides, strict=True)]
    write_film(folder / "both.mp4", beside, read_audio(folder / left.file), rate=16_000)
    torch.manual_seed(0)
    model = classifier("demo", 2, image_size=32, num_frames=8)
    torch.nn.init.normal_(model.head.weight, std=0.2)
    faces = {"detector": "centerface", "size": 48}
    save_model(folder / "model.safetensors", model, {"classes": ["sad", "glad"], "targets": [], "faces": faces})
    return folder


def test_each_speaker_of_a_scene_has_a_row(hicmae, two_speakers):
    ask = ("predict", "both.mp4", "--model", ".", "--hop", "0")
    alone = json.loads(hicmae(*ask, "--json", cwd=two_speakers).stdout)
    assert len(alone) == 1
    result = hicmae(*ask, "--json", "--csv", "faces.csv", "--all-speakers", cwd=two_speakers)
    assert result.returncode == 0, result.stderr
    first, second = json.loads(result.stdout)
    assert (first["face"], second["face"]) == (1, 2)
    assert all(round(side, 1) == side for side in first["box"])
    lefts = sorted([first["box"], second["box"]])
    assert lefts[0][2] <= 224 <= lefts[1][0]  # each in its half of the image
    assert first["probabilities"] != second["probabilities"]
    rows = list(csv.DictReader(io.StringIO((two_speakers / "faces.csv").read_text())))
    assert [(row["face"], row["part"], row["status"]) for row in rows] == [
        ("1", "clip", first["status"]),
        ("2", "clip", second["status"]),
    ]
    assert "both.mp4, face 2" in hicmae(*ask, "--all-speakers", cwd=two_speakers).stdout
