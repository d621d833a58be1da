"""A model in the formats that other programs run, each checked against the model itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hicmae_core.files import atomic_path
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.reference import load_reference_checkpoint, to_reference_state_dict

TOLERANCE = 1e-4
"""Largest difference of an exported model's outputs, absolute where they are below 1, else relative."""

ONNX_FILE, TORCH_FILE, REFERENCE_FILE = "model.onnx", "model.pt2", "model.pth"
_BATCHES = (1, 3)


class _ByName(nn.Module):
    """The classifier with the inputs it reads, and no others, as arguments."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.modality = model.architecture.modality

    def forward(self, *inputs: Tensor) -> Tensor:
        given = {"both": inputs, "video": (inputs[0], None), "audio": (None, inputs[0])}[self.modality]
        outputs: Tensor = self.model(*given)
        return outputs


def input_shapes(model: Classifier) -> dict[str, tuple[int, ...]]:
    """The inputs that a model reads: name and shape of one clip, in the order of the arguments."""
    a = model.architecture
    shapes = {"video": tuple(a.video_shape), "audio": tuple(a.audio_shape)}
    return shapes if a.modality == "both" else {a.modality: shapes[a.modality]}


def export_onnx(model: Classifier, folder: Path) -> float:
    """Write ``model.onnx``, for any number of clips; see `export_torch`."""
    try:
        import onnxruntime
    except ImportError:
        raise ValueError("ONNX needs packages that are not installed: pip install 'hicmae[export]'") from None
    names = list(input_shapes(model))
    with atomic_path(folder / ONNX_FILE) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that two axes are the same batch
        program = torch.onnx.export(
            _ByName(model).eval(),
            _examples(model, 2),
            input_names=names,
            output_names=["output"],
            dynamic_shapes=_any_batch(model),
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "the exporter of torch.export gives a program"
        program.save(str(temporary))
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])

        def run(*inputs: Tensor) -> Tensor:
            given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, given)[0])

        return _checked(model, run, ONNX_FILE)


def export_torch(model: Classifier, folder: Path) -> float:
    """Write ``model.pt2``, a program of torch.export for any number of clips.

    Args:
        model: On the CPU, in eval mode.
        folder: Where.

    Returns:
        Largest difference of the outputs to the model's, on random inputs.

    Raises:
        ValueError: If it is above `TOLERANCE`.
    """
    with atomic_path(folder / TORCH_FILE) as temporary:
        program = torch.export.export(_ByName(model).eval(), _examples(model, 2), dynamic_shapes=_any_batch(model))
        with open(temporary, "wb") as file:
            torch.export.save(program, file)
        with open(temporary, "rb") as file:  # written a moment ago
            return _checked(model, torch.export.load(file).module(), TORCH_FILE)


def export_reference(model: Classifier | PretrainingModel, folder: Path) -> float:
    """Write ``model.pth``, as the authors' programs read it, and read it again; weights are equal to the bit.

    Raises:
        ValueError: If the model is none that such a file can describe, as one of a single modality.
    """
    with atomic_path(folder / REFERENCE_FILE) as temporary:
        with open(temporary, "wb") as file:
            torch.save({"model": to_reference_state_dict(model)}, file)
        kept = ("image_size", "num_frames", "num_audio_frames", "output_activation")
        overrides = {name: getattr(model.architecture, name) for name in kept if hasattr(model.architecture, name)}
        again = load_reference_checkpoint(temporary, **overrides).state_dict()
    return max(float((again[key] - value).abs().max()) for key, value in model.state_dict().items())


def _any_batch(model: Classifier) -> Any:
    batch = torch.export.Dim("batch", min=1)
    return {"inputs": tuple({0: batch} for _ in input_shapes(model))}


def _examples(model: Classifier, batch: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(batch)
    return tuple(torch.randn(batch, *shape, generator=generator) for shape in input_shapes(model).values())


@torch.no_grad()
def _checked(model: Classifier, run: Callable[..., Tensor], name: str) -> float:
    worst = 0.0
    for batch in _BATCHES:
        inputs = _examples(model, batch)
        expected = _ByName(model)(*inputs)
        worst = max(worst, float(((run(*inputs) - expected).abs() / expected.abs().clamp_min(1)).max()))
    if not worst <= TOLERANCE:
        raise ValueError(f"{name}: outputs differ from the model's by {worst:.1e}, more than {TOLERANCE:g}")
    return worst
