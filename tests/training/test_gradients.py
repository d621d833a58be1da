"""Gradients of whole objectives against central differences, in float64, along a random direction of each parameter."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from hicmae_core.config import AugmentationParams, RegressionLoss
from hicmae_core.data.augmentation import mix
from hicmae_core.model.masking import random_mask, tube_mask
from hicmae_core.model.sizes import classifier, pretraining_model
from hicmae_core.training.losses import classification_loss, pretraining_loss, regression_loss, smooth_one_hot

INPUTS = {"image_size": 32, "num_frames": 4, "num_audio_frames": 32, "num_mel_bins": 32}
ENCODERS = {
    "video_dim": 16, "video_depth": 2, "video_num_heads": 2, "audio_dim": 16, "audio_depth": 2, "audio_num_heads": 4,
    "fusion_num_heads": 2,
}  # fmt: skip
DECODERS = {
    "levels": (0, 1), "video_decoder_dim": 8, "video_decoder_depth": 3, "video_decoder_num_heads": 2,
    "audio_decoder_dim": 12, "audio_decoder_depth": 2, "audio_decoder_num_heads": 3,
}  # fmt: skip
STEP = 1e-5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(batch_size: int = 3) -> tuple[Tensor, Tensor]:
    shapes = (3, 4, 32, 32), (1, 32, 32)
    video, audio = (torch.randn(batch_size, *shape, generator=seeded(), dtype=torch.float64) for shape in shapes)
    return video, audio


def shaken(model: nn.Module) -> nn.Module:
    """In float64, with no parameter at 0 or at its start, so that each one matters."""
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


@torch.no_grad()
def slopes(model: nn.Module, loss: Callable[[], Tensor]) -> Iterator[tuple[str, float, float]]:
    """Per parameter its name, and along a random direction the gradient's slope and that of the loss itself."""
    with torch.enable_grad():
        loss().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=seeded(2), dtype=torch.float64)
        direction /= direction.norm()
        here = parameter.clone()
        above, below = (loss_at(parameter, here + sign * STEP * direction, loss) for sign in (1, -1))
        parameter.copy_(here)
        assert parameter.grad is not None, f"{name} has no gradient"
        yield name, (parameter.grad * direction).sum().item(), (above - below) / (2 * STEP)


def loss_at(parameter: Tensor, value: Tensor, loss: Callable[[], Tensor]) -> float:
    parameter.copy_(value)
    return loss().item()


def check(model: nn.Module, loss: Callable[[], Tensor]) -> None:
    found = list(slopes(model, loss))
    assert sum(abs(slope) > 1e-6 for _, _, slope in found) > 0.95 * len(found)
    for name, gradient, slope in found:
        assert gradient == pytest.approx(slope, rel=1e-5, abs=1e-9), name


def test_pretraining() -> None:
    torch.manual_seed(0)
    model = shaken(pretraining_model("demo", **INPUTS, **ENCODERS, **DECODERS, temperature=0.5))
    video, audio = clips()
    video_mask, audio_mask = tube_mask(3, 2, 4, 0.75, seeded(), "cpu"), random_mask(3, 4, 0.5, seeded(), "cpu")

    def loss() -> Tensor:
        out = model(video, video_mask, audio, audio_mask)
        inputs = video, video_mask, audio, audio_mask
        return pretraining_loss(out, *inputs, contrastive_weight=0.5, frame_difference=True)["total"]

    check(model, loss)


@pytest.mark.parametrize(("modality", "drop_path"), [("both", 0.2), ("video", 0.0), ("audio", 0.0)])
def test_finetuning_with_mixed_targets(modality: str, drop_path: float) -> None:
    torch.manual_seed(0)
    model = shaken(classifier("demo", 3, **INPUTS, **ENCODERS, modality=modality, drop_path=drop_path)).train()
    distributions = smooth_one_hot(torch.tensor([[0], [1], [2]]), 3, 0.1).double()
    video, audio, distributions = mix(*clips(), distributions, AugmentationParams(), seeded())
    weights = torch.tensor([[0.5, 1.0, 2.0]], dtype=torch.float64)

    def loss() -> Tensor:
        torch.manual_seed(0)  # the same blocks are dropped each time
        return classification_loss(model(video, audio)[:, None], distributions, weights)

    check(model, loss)


@pytest.mark.parametrize("kind", get_args(RegressionLoss))
def test_regression_losses(kind: RegressionLoss) -> None:
    outputs, targets = torch.randn(2, 6, 3, generator=seeded(), dtype=torch.float64)
    loss = partial(regression_loss, targets=targets, kind=kind)
    assert torch.autograd.gradcheck(loss, outputs.requires_grad_(), rtol=1e-5)
