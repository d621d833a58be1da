"""The plain arm of the benchmark computes what ours computes, and the work is counted right."""

import pytest
import torch
from torch import nn

from benchmarks.plain_model import PlainClassifier, PlainPretraining
from benchmarks.plain_step import draw_masks, plain_step
from benchmarks.work import NUM_CLASSES, work_of
from hicmae_core.model.sizes import classifier, pretraining_model
from hicmae_core.training.losses import classification_loss, pretraining_loss

SMALL = {"image_size": 64, "num_frames": 4, "num_audio_frames": 32, "num_mel_bins": 32}


def clips(batch_size: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(batch_size, 3, 4, 64, 64, generator=generator)
    return video, torch.randn(batch_size, 1, 32, 32, generator=generator)


def shaken(model: nn.Module) -> nn.Module:
    """With no parameter at its start, so that each one matters."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def check(ours: nn.Module, loss: torch.Tensor, plain: nn.Module, plain_loss: torch.Tensor) -> None:
    """Equal losses and gradients."""
    torch.testing.assert_close(loss, plain_loss, rtol=1e-5, atol=1e-5)
    loss.backward()
    plain_loss.backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5)


def test_pretraining_is_the_same() -> None:
    ours = shaken(pretraining_model("demo", **SMALL))
    plain = PlainPretraining(ours.architecture)
    plain.load_state_dict(ours.state_dict())
    video, audio = clips()
    video_mask, audio_mask = draw_masks(3, ours.video_grid, ours.audio_grid)
    assert video_mask.view(3, 2, 16).sum(-1).tolist() == [[14, 14]] * 3
    assert audio_mask.sum(-1).tolist() == [3] * 3
    inputs = video, video_mask, audio, audio_mask
    loss = pretraining_loss(ours(*inputs), *inputs, contrastive_weight=0.0025, frame_difference=True)["total"]
    check(ours, loss, plain, plain(*inputs))


def test_finetuning_is_the_same() -> None:
    ours = shaken(classifier("demo", NUM_CLASSES, **SMALL))
    plain = PlainClassifier(ours.architecture)
    plain.load_state_dict(ours.state_dict())
    distributions = torch.rand(3, NUM_CLASSES, generator=torch.Generator().manual_seed(0)).softmax(-1)
    check(
        ours,
        classification_loss(ours(*clips())[:, None], distributions[:, None]),
        plain,
        plain(*clips(), distributions),
    )


def test_the_plain_arm_learns() -> None:
    plain = PlainClassifier(classifier("demo", NUM_CLASSES, **SMALL).architecture)
    step = plain_step(plain, "float32", torch.device("cpu"))
    distributions = torch.eye(NUM_CLASSES)[:3]
    losses = [step(*clips(), distributions) for _ in range(20)]
    assert losses[-1] < losses[0]


NOT_EMBEDDED = 2 * 512 * (720 * 1536 + 102 * 256)
NOT_DECODED = 2 * (80 * (10 * 384**2 + 2 * 800 * 384) + 26 * (10 * 384**2 + 2 * 128 * 384))
"""FLOP that the published way spends on masked patches in encoders and on visible ones in the last decoder block."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "published_gflop", "spared"), [("pretrain", 30.3, NOT_EMBEDDED + NOT_DECODED), ("finetune", 92.2, 0)]
)
def test_the_work_is_counted_as_published(task: str, published_gflop: float, spared: int) -> None:
    work = work_of("base", task)
    assert work.counted_flops == work.forward_flops
    assert (work.forward_flops + spared) / 1e9 == pytest.approx(published_gflop, rel=0.005)
    assert 2.9 < work.training_flops / work.forward_flops < 3
