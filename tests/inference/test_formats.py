"""Exported models give the model's outputs, for any number of clips."""

import numpy as np
import onnxruntime
import pytest
import torch

from hicmae_core.inference import exporting
from hicmae_core.model.sizes import classifier


def small_model(modality="both", pooling="mean"):
    torch.manual_seed(0)
    shape = {"image_size": 32, "num_frames": 4, "num_audio_frames": 32}
    model = classifier("demo", 3, modality=modality, pooling=pooling, **shape).eval()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    return model


@pytest.mark.parametrize(("modality", "pooling"), [("both", "mean"), ("audio", "mean"), ("both", "statistics")])
def test_onnx_runs_in_onnxruntime(tmp_path, modality, pooling):
    model = small_model(modality, pooling)
    exporting.export_onnx(model, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    shapes = exporting.input_shapes(model)
    assert [given.name for given in session.get_inputs()] == list(shapes)
    inputs = {name: torch.randn(5, *shape) for name, shape in shapes.items()}
    (outputs,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        expected = model(inputs.get("video"), inputs.get("audio"))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "statistics"])
def test_a_torch_program_gives_the_same(tmp_path, pooling):
    model = small_model(pooling=pooling)
    assert exporting.export_torch(model, tmp_path) <= 1e-5
    inputs = [torch.randn(2, *shape) for shape in exporting.input_shapes(model).values()]
    program = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(program(*inputs), model(*inputs))


def test_an_export_that_differs_is_refused_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"model.pt2: outputs differ"):
        exporting.export_torch(small_model(), tmp_path)
    assert list(tmp_path.iterdir()) == []
