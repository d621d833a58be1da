"""`hicmae export` and `hicmae import`, with the authors' checkpoints in full size; files that would run code."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch

from hicmae_core.model.artifact import load_model, read_metadata, save_model
from hicmae_core.model.sizes import classifier
from hicmae_core.reports.card import model_card


def small_model(folder):
    torch.manual_seed(0)
    model = classifier("demo", 2, image_size=32, num_frames=4, num_audio_frames=32)
    metadata = {"classes": ["sad", "glad"], "targets": [], "dataset": "demo", "fold": 1, "size": "demo"}
    metadata |= {"recipe": {"epochs": 16}, "pretraining": {"dataset": "demo_unlabelled", "recipe": {"epochs": 30}}}
    path = folder / "models/finetune/demo/1/model.safetensors"
    save_model(path, model, metadata)
    return path


def test_a_model_is_handed_on_with_a_card(hicmae, tmp_path):
    path = small_model(tmp_path)
    metric = {"uar": 0.5}
    results = {
        "headline": ["uar"], "pooled": metric, "mean": metric, "std": metric, "low": {"uar": 0.25},
        "high": {"uar": 0.75}, "folds": {"1": metric}, "num_clips": 4, "num_subjects": 2, "confidence": 0.95,
    }  # fmt: skip
    (tmp_path / "reports/demo").mkdir(parents=True)
    (tmp_path / "reports/demo/results.json").write_text(json.dumps(results))
    (tmp_path / "results/demo/1").mkdir(parents=True)
    predictions = pd.DataFrame({"clip_id": list("1234"), "subject": ["a", "a", "b", "b"], "unit": list("1234")})
    predictions = predictions.assign(label=[0, 1, 0, 1], prediction=[0, 1, 1, 1])
    predictions.to_parquet(tmp_path / "results/demo/1/predictions.parquet")
    formats = [word for name in ("safetensors", "onnx", "torch", "reference") for word in ("--format", name)]
    result = hicmae("export", path, *formats, "--out", "shared", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    names = {file.name for file in (tmp_path / "shared").iterdir()}
    assert names == {"README.md", "model.safetensors", "model.onnx", "model.pt2", "model.pth"}
    card = (tmp_path / "shared/README.md").read_text()
    assert "Fine-tuning: epochs 16" in card
    assert "Pre-training on demo_unlabelled: epochs 30" in card
    for words in ("emotion *expressed*", "0.250 to 0.750", "worst 50% (b)", "differ by", "says nothing about people"):
        assert words in card
    _, metadata = load_model(tmp_path / "shared/model.safetensors")
    assert metadata["classes"] == ["sad", "glad"]


def test_the_card_counts_units():
    """Speaker a has two units of two clips, both right in the mean, each with a clip that is not; b's unit is wrong."""
    rows = pd.DataFrame({"clip_id": list("123456"), "subject": list("aaaabb"), "unit": list("ppqqrr")})
    rows = rows.assign(label=[0, 0, 1, 1, 0, 0], p_sad=[0.9, 0.4, 0.45, 0.51, 0.7, 0.2])
    rows = rows.assign(p_glad=1 - rows["p_sad"], prediction=lambda rows: (rows["p_sad"] < 0.5).astype(int))
    metric = {"uar": 0.5}
    results = {
        "headline": ["uar"], "pooled": metric, "mean": metric, "std": metric, "folds": {"1": metric}, "num_clips": 6,
        "num_units": 3, "unit": "participant x task", "num_subjects": 2, "confidence": 0.95,
    }  # fmt: skip
    model = classifier("demo", 2, image_size=32, num_frames=4, num_audio_frames=32)
    card = model_card(model, {"classes": ["sad", "glad"]}, results, None, rows, {})
    assert "3 units (participant x task) of 6 test clips of 2 speakers" in card
    assert "Units predicted correctly, by speaker, over 2 speakers: worst 0% (b), median 50%, best 100% (a)" in card
    assert "| a | 2 | 100% |" in card


@pytest.mark.parametrize("modality", ["both", "audio"])
def test_the_card_says_that_faces_were_drawn(modality):
    metric = {"uar": 0.5}
    results = {
        "headline": ["uar"], "pooled": metric, "mean": metric, "std": metric, "folds": {"1": metric}, "num_clips": 6,
        "num_subjects": 2, "confidence": 0.95,
    }  # fmt: skip
    model = classifier("demo", 2, image_size=32, num_frames=4, num_audio_frames=32, modality=modality)
    about = {"classes": ["sad", "glad"], "dataset": "d", "modality": modality, "face_source": "drawn"}
    card = model_card(model, about, results, None, None, {})
    assert "Video: drawn faces" in card
    notes = ("fine-tuned on d (drawn faces)", "| metric (drawn faces) |", "faces are drawn, not")
    assert [note in card for note in notes] == [modality == "both"] * 3


def test_another_model_s_results_are_not_put_on_the_card(hicmae, tmp_path):
    stranger = small_model(tmp_path / "elsewhere")
    small_model(tmp_path).write_bytes(b"another")
    hicmae("export", stranger, "--out", "shared", cwd=tmp_path)
    assert "No evaluation is known here" in (tmp_path / "shared/README.md").read_text()


NAMES = {
    "pretrain_hicmae_dim384_patch16_160_a256": "small PretrainingModel",
    "pretrain_hicmae_dim512_patch16_160_a256": "base PretrainingModel",
    "avit_dim256_patch16_160_a256": "tiny Classifier",
    "avit_dim384_patch16_160_a256": "small Classifier",
    "avit_dim512_patch16_160_a256": "base Classifier",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if "256_patch" in name else pytest.mark.slow) for name in NAMES]
)
def test_published_checkpoints_go_in_and_out(hicmae, golden, tmp_path, name):
    shapes = json.loads((golden / "official_state_dict_shapes.json").read_text())[name]
    generator = torch.Generator().manual_seed(0)
    weights = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    torch.save({"module" if "avit" in name else "model": weights}, tmp_path / "theirs.pth")
    taken_in = hicmae("import", "theirs.pth", "--out", "ours.safetensors", cwd=tmp_path)
    assert taken_in.returncode == 0, taken_in.stderr
    assert NAMES[name] in taken_in.stdout
    handed_on = hicmae("export", "ours.safetensors", "--format", "reference", "--out", ".", cwd=tmp_path)
    assert handed_on.returncode == 0, handed_on.stderr
    back = torch.load(tmp_path / "model.pth", weights_only=True)["model"]
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[key], value) for key, value in weights.items())


def test_a_checkpoint_is_read_by_every_command_whatever_its_wrapping_and_suffix(hicmae, folder, tmp_path):
    weights = classifier("demo", 2).state_dict()
    content = {
        "state_dict": {f"model._orig_mod.{key}": value for key, value in weights.items()},
        "acc": np.float64(0.8),
    }
    torch.save(content, tmp_path / "best.ckpt")
    film = folder / "one.mp4"
    for command in (
        ["import", "best.ckpt", "--classes", "sad,glad", "--out", "ours.safetensors"],
        ["export", "best.ckpt", "--out", "shared"],
        ["predict", film, "--model", "best.ckpt", "--csv", "answers.csv"],
        ["embed", film, "--model", "best.ckpt", "--out", "features.parquet"],
    ):
        result = hicmae(*command, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    for path in ("ours.safetensors", "shared/model.safetensors"):
        model, _ = load_model(tmp_path / path)
        assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert "class 1" in (tmp_path / "answers.csv").read_text()
    again = hicmae("import", "ours.safetensors", "--out", "again.safetensors", cwd=tmp_path)
    assert "ours.safetensors: is a model of this project" in again.stderr
    (tmp_path / "empty").mkdir()
    assert "empty: a folder without model.safetensors" in hicmae("export", "empty", "--out", "x", cwd=tmp_path).stderr


def test_an_imported_model_is_told_which_frames_were_counted(hicmae, golden, tmp_path):
    shapes = json.loads((golden / "official_state_dict_shapes.json").read_text())["avit_dim256_patch16_160_a256"]
    torch.save({"module": {key: torch.zeros(shape) for key, shape in shapes.items()}}, tmp_path / "mafw.pth")
    for options, expected in (
        ([], (4, "seconds", 30.0)),
        (["--frame-stride", "3", "--usual-fps", "25"], (3, "seconds", 25.0)),
        (["--stride-unit", "frames"], (4, "frames", 30.0)),
    ):
        result = hicmae("import", "mafw.pth", *options, "--out", "mafw.safetensors", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        metadata = read_metadata(tmp_path / "mafw.safetensors")
        assert tuple(metadata[key] for key in ("frame_stride", "stride_unit", "usual_fps")) == expected


class Trap:
    """What runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.safetensors"])
def test_a_file_that_would_run_code_is_refused(hicmae, tmp_path, name):
    torch.save({"model": Trap(f"touch {tmp_path}/sprung")}, tmp_path / name)
    for command in (
        ["import", name, "--out", "out.safetensors"],
        ["export", name, "--out", "out"],
        ["predict", "film.mp4", "--model", name],
    ):
        result = hicmae(*command, cwd=tmp_path)
        assert result.returncode == 1
        assert "error: " in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "sprung").exists()


def test_mistakes_are_told(hicmae, tmp_path):
    assert "no such file" in hicmae("import", "none.pth", "--out", "o.safetensors", cwd=tmp_path).stderr
    assert "ends in .safetensors" in hicmae("import", "none.pth", "--out", "o.pth", cwd=tmp_path).stderr
