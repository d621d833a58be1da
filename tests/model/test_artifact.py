import json
from functools import partial

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hicmae_core.model.artifact import load_classifier, load_model, save_model
from hicmae_core.model.sizes import classifier, pretraining_model

SMALL = {"image_size": 32, "num_frames": 4, "num_audio_frames": 32}


@pytest.mark.parametrize(
    "build",
    [
        lambda: pretraining_model("demo", temperature=0.2, skips=False, **SMALL),
        lambda: classifier(
            "demo", 3, modality="audio", output_activation="tanh", drop_path=0.1, fusion="last", **SMALL
        ),
    ],
)
def test_models_come_back_as_they_were(tmp_path, build):
    model = build()
    notes = {"size": "demo", "classes": ["a", "b"], "epoch": 3}
    save_model(tmp_path / "model.safetensors", model, notes)
    loaded, metadata = load_model(tmp_path / "model.safetensors")
    assert metadata == notes
    assert type(loaded) is type(model)
    assert loaded.architecture == model.architecture
    assert not loaded.training
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (pretraining_model, "skips"),
        (pretraining_model, "video_patch"),
        (partial(classifier, num_outputs=3), "fusion"),
        (partial(classifier, num_outputs=3), "audio_patch"),
    ],
)
def test_models_saved_before_a_variation_existed_load_as_the_published_one(tmp_path, build, field):
    path = tmp_path / "model.safetensors"
    model = build("demo", **SMALL)
    save_model(path, model, {})
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["hicmae"])
    del header["architecture"][field]
    save_file(load_file(path), path, {"hicmae": json.dumps(header)})
    assert load_model(path)[0].architecture == model.architecture


def test_equal_models_give_equal_bytes(tmp_path):
    model = classifier("demo", 3, **SMALL)
    for name in ("a", "b"):
        save_model(tmp_path / name, model, {"one": 1, "two": 2, "three": 3})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="no such file"):
        load_model(path)
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="not a readable"):
        load_model(path)
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not one that this project wrote"):
        load_model(path)
    save_model(path, pretraining_model("demo", **SMALL), {})
    with pytest.raises(ValueError, match="holds a pre-training model, but a classifier is wanted"):
        load_classifier(path)


def test_weights_that_do_not_fit_their_header(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, classifier("demo", 3, **SMALL), {})
    with safe_open(path, "pt") as file:
        header = file.metadata()
    weights = load_file(path)
    weights["head.bias"] = torch.zeros(9)
    save_file(weights, path, header)
    with pytest.raises(ValueError, match=r"head.bias has shape \[9\] instead of \[3\]"):
        load_model(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, classifier("demo", 3, **SMALL), {"run": 1})
    with pytest.raises(TypeError):
        save_model(path, classifier("demo", 3, **SMALL), {"run": object()})
    assert load_classifier(path)[1] == {"run": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
