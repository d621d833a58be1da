"""An explanation says what the prediction says, and its parts add up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hicmae_core.config import FacesParams
from hicmae_core.inference.explanation import explain
from hicmae_core.inference.video import open_video_reader
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.media.films import picture, tone, write_film

CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three seconds of a head, with a tone."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_film(path, [picture([(160, 120, 90)])] * 75, tone(3.0))


def reader_of(folder, modality, num_outputs=3, classes=CLASSES, targets=()):
    torch.manual_seed(0)
    model = classifier("demo", num_outputs, image_size=32, num_frames=4, num_audio_frames=32, modality=modality)
    torch.nn.init.normal_(model.head.weight, std=0.2)
    metadata = {"classes": list(classes), "targets": list(targets), "frame_stride": 4}
    save_model(folder / "model.safetensors", model, metadata)
    return open_video_reader(
        folder / "model.safetensors", FacesParams(detector="none", size=48), 2, torch.device("cpu")
    )


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_it_says_what_the_prediction_says(film, tmp_path, modality):
    reader = reader_of(tmp_path, modality)
    found, answer = explain(reader, film, 60), reader.predict(film)
    assert found.values == pytest.approx(answer.values, abs=1e-5)
    assert len(found.moments) == len(answer.windows) == 4
    for moment, window in zip(found.moments, answer.windows, strict=True):
        assert moment.values == pytest.approx(window["values"], abs=1e-5)
        assert moment.start_seconds == pytest.approx(window["start_seconds"], abs=1e-3)
        assert len(moment.crops) == (0 if modality == "audio" else 2)
        shapes = {"video": (2, 2, 2), "audio": (2, 8)}
        expected = shapes if modality == "both" else {modality: shapes[modality]}
        assert {name: values.shape for name, values in moment.relevance.items()} == expected
    assert set(found.shown) == ({"both", "video", "audio"} if modality == "both" else set())
    for weights in found.layer_weights.values():
        assert sum(weights) == pytest.approx(1)


def test_differences_of_terms_are_differences_of_logits(film, tmp_path):
    reader = reader_of(tmp_path, "both")
    found = explain(reader, film, 60)
    total = {name: sum(sum(term) for term in terms.values()) for name, terms in found.contributions.items()}
    assert sum(total.values()) == pytest.approx(0, abs=1e-4)
    ((window_outputs,),) = reader.all_window_outputs([film], hop_seconds=0)
    logits = window_outputs.segments.mean(dim=0)  # the head's bias is zero in a new model
    np.testing.assert_allclose(np.diff(logits), np.diff([total[name] for name in CLASSES]), atol=1e-4)


def test_showing_one_modality_alone_changes_the_answer(film, tmp_path):
    found = explain(reader_of(tmp_path, "both"), film, 60)
    assert found.shown["both"] == pytest.approx(found.values, abs=1e-5)
    assert found.shown["video"] != pytest.approx(found.values, abs=1e-3)
    assert found.shown["audio"] != pytest.approx(found.values, abs=1e-3)


def test_a_regression_has_terms_of_its_values(film, tmp_path):
    found = explain(reader_of(tmp_path, "both", 2, (), ("arousal", "valence")), film, 60)
    assert list(found.values) == list(found.contributions) == ["arousal", "valence"]
    for name, terms in found.contributions.items():
        assert sum(sum(term) for term in terms.values()) == pytest.approx(found.values[name], abs=1e-4)


def test_files_without_an_answer_say_why(film, tmp_path):
    reader = reader_of(tmp_path, "both")
    silent = write_film(tmp_path / "silent.mp4", [picture([(160, 120, 90)])] * 30)
    assert explain(replace(reader, needs_both=True), silent, 60).status == "no_sound"
    assert explain(reader, tmp_path / "nothing.mp4", 60).status == "missing"
    too_long = explain(reader, film, 2)
    assert too_long.status == "too_long"
    assert "longer than 2 s" in too_long.reason
    assert not too_long.values
