"""A card's lines of code make of an export's outputs what this project makes of them."""

import re

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from hicmae_core.model.artifact import load_model
from hicmae_core.model.sizes import classifier
from hicmae_core.reports.card import model_card
from tests.disagreeing import logits_of, save_disagreeing, write_changing_film


def run_code(card, outputs):
    """The variables that the card's code leaves."""
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    variables = {"np": np, "outputs": outputs}
    exec(code, variables)
    return variables


@pytest.mark.parametrize("temperatures", [[], [0.5, 2.0]])
@pytest.mark.parametrize("num_targets", [1, 2])
def test_probabilities_of_windows_are_averaged(tmp_path, num_targets, temperatures):
    noted = {"temperatures": temperatures[:num_targets]} if temperatures else {}
    reader = save_disagreeing(tmp_path, write_changing_film(tmp_path / "film.mp4"), num_targets, **noted)
    model, metadata = load_model(tmp_path / "model.safetensors")
    outputs = logits_of(num_targets)
    found = run_code(model_card(model, metadata, None, None, None, {}), outputs.numpy())["probabilities"]
    assert found.flatten().tolist() == pytest.approx(list(reader.named(outputs).values()), abs=1e-6)
    assert found.argmax(axis=1).tolist() == [0, 1][:num_targets]


@pytest.mark.parametrize(
    ("stride", "words"),
    [
        ({}, "one of 4 frames at 30 a second, at other rates those nearest in time"),
        ({"frame_stride": 3, "usual_fps": 25.0}, "one of 3 frames at 25 a second, at other rates"),
        ({"frame_stride": 8, "stride_unit": "frames", "usual_fps": 24.0}, "one of 8 frames at any frame rate"),
    ],
)
def test_a_card_says_which_frames_are_taken(stride, words):
    model = classifier("demo", 2, image_size=32, num_frames=4, num_audio_frames=32)
    assert words in model_card(model, {"classes": ["sad", "glad"], "targets": [], **stride}, None, None, None, {})


def test_values_of_windows_are_averaged():
    model = classifier("demo", 2, image_size=32, num_frames=4, num_audio_frames=32)
    card = model_card(model, {"classes": [], "targets": ["arousal", "valence"]}, None, None, None, {})
    assert run_code(card, torch.tensor([[0.0, 1.0], [1.0, 4.0]]).numpy())["values"].tolist() == [0.5, 2.5]


def test_the_hub_finds_task_data_and_results():
    model = classifier("demo", 2, image_size=32, num_frames=4, num_audio_frames=32)
    metadata = {"classes": ["sad", "glad"], "targets": [], "size": "demo", "dataset": "mine"}
    results = {"headline": ["uar"], "pooled": {"uar": 0.51236}, "mean": {"uar": 0.5}, "std": {"uar": None}}
    results |= {"folds": [1], "num_subjects": 3, "confidence": 0.95, "num_clips": 9}
    data = ModelCard(model_card(model, metadata, results, None, None, {})).data
    assert (data.library_name, data.pipeline_tag, data.datasets) == ("hicmae", "video-classification", ["mine"])
    assert data.model_name == "HiCMAE, demo, fine-tuned on mine"
    (result,) = data.eval_results
    assert (result.dataset_type, result.metric_type, result.metric_value) == ("mine", "uar", 0.5124)
    unknown = ModelCard(model_card(model, {}, None, None, None, {})).data
    assert unknown.eval_results is None
