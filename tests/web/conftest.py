"""A video and a model to ask about it."""

import pytest
import torch

from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.media.films import talking_head, tone, write_film


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A head that moves for four seconds, with a tone."""
    return write_film(tmp_path_factory.mktemp("film") / "head & shoulders.mp4", talking_head(100)[0], tone(4.0))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    model = classifier("demo", 3, image_size=32, num_frames=8)
    torch.nn.init.normal_(model.head.weight, std=0.2)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    faces = {"detector": "centerface", "size": 48}
    metadata = {
        "classes": ["anger", "<b>joy</b>", "neutral"],
        "targets": [],
        "frame_stride": 4,
        "usual_fps": 25.0,
        "faces": faces,
    }
    save_model(path, model, metadata)
    return path
