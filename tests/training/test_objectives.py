"""What a training step computes on the device: the golden losses, in one graph, without waiting for the device."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hicmae_core.config import Params, PretrainParams
from hicmae_core.model.masking import split_tokens
from hicmae_core.model.reference import pretraining_from_reference
from hicmae_core.model.sizes import classifier, pretraining_model
from hicmae_core.training.losses import classification_loss, regression_loss, smooth_one_hot
from hicmae_core.training.objectives import FinetuningObjective, PretrainingObjective
from hicmae_core.training.pretrain import draw_masks, draw_scores

SMALL = {"image_size": 32, "num_frames": 4, "num_audio_frames": 32, "num_mel_bins": 32}
SHALLOW = {"video_depth": 1, "audio_depth": 1}
DECODERS = {"levels": (0,), "video_decoder_depth": 2, "audio_decoder_depth": 2}
SETTINGS = PretrainParams(video_mask_ratio=0.5, audio_mask_ratio=0.5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(batch_size: int = 4) -> tuple[Tensor, Tensor]:
    generator = seeded()
    return torch.randn(batch_size, 3, 4, 32, 32, generator=generator), torch.randn(
        batch_size, 1, 32, 32, generator=generator
    )


def pretraining() -> tuple[PretrainingObjective, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    model = pretraining_model("demo", **SMALL, **SHALLOW, **DECODERS)
    video, audio = clips()
    scores = draw_scores(model.video_grid, model.audio_grid, len(video), "test")
    return PretrainingObjective(model, SETTINGS), (video, scores[0], audio, scores[1])


def finetuning(params: Callable[..., Params], dataset: str = "toy") -> tuple[FinetuningObjective, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    chosen = params()
    model = classifier("demo", chosen.dataset[dataset].num_outputs, **SMALL, **SHALLOW)
    model.head.weight.data.normal_(generator=seeded())
    labels = smooth_one_hot(torch.tensor([[0], [1], [2], [0]]), 3, 0.1)
    if dataset == "toy_regression":
        labels = torch.rand(4, 2, generator=seeded())
    return FinetuningObjective(model, chosen.dataset[dataset], chosen.finetune), (*clips(), labels)


def scores_that_hide(mask: Tensor) -> Tensor:
    return torch.rand(mask.shape, generator=seeded()) - mask.float()


def test_pairs_in_order_are_as_none() -> None:
    objective, inputs = pretraining()
    plain, paired = objective(*inputs), objective(*inputs, torch.arange(4).repeat(2, 1))
    assert {name: loss.item() for name, loss in paired.items()} == pytest.approx(
        {name: loss.item() for name, loss in plain.items()}
    )


def test_a_clip_of_one_modality_is_reconstructed_but_neither_contrasted_nor_fused() -> None:
    """Faces of the clips 0, 1, 2, voices of 1, 2, 3."""
    objective, (video, video_scores, audio, audio_scores) = pretraining()
    faces, voices, pairs = slice(0, 3), slice(1, 4), torch.tensor([[1, 2], [0, 1]])
    inputs = [video[faces], video_scores[faces], audio[voices], audio_scores[voices]]
    losses = objective(*inputs, pairs)
    alone = objective(*(x[1:3] for x in (video, video_scores, audio, audio_scores)))
    torch.testing.assert_close(losses["contrastive"], alone["contrastive"])

    inputs[2] = inputs[2].clone()
    inputs[2][2] += torch.randn(audio[0].shape, generator=seeded())  # the voice without a face
    others = objective(*inputs, pairs)
    assert others["video"] == losses["video"]
    assert others["contrastive"] == losses["contrastive"]
    assert others["audio"] != losses["audio"]


@pytest.mark.parametrize("lacking", ["video", "audio"])
def test_a_batch_without_one_modality_moves_the_weights_of_the_other_alone(lacking: str) -> None:
    objective, (video, video_scores, audio, audio_scores) = pretraining()
    if lacking == "video":
        video, video_scores = video[:0], video_scores[:0]
    else:
        audio, audio_scores = audio[:0], audio_scores[:0]
    losses = objective(video, video_scores, audio, audio_scores, torch.empty(2, 0, dtype=torch.int64))
    losses["total"].backward()
    assert losses[lacking] == losses["contrastive"] == 0
    moved = {name: parameter.grad for name, parameter in objective.model.named_parameters()}
    assert all(grad is not None and grad.isfinite().all() for grad in moved.values()), "as DDP demands"
    own, other = ("encoder_audio.", "encoder.") if lacking == "video" else ("encoder.", "encoder_audio.")
    assert all(grad.any() for name, grad in moved.items() if name.startswith(own) and name.endswith("weight"))
    assert not any(grad.any() for name, grad in moved.items() if name.startswith(other))


def test_pretraining_losses_and_gradients_are_the_authors(golden: Path) -> None:
    facts: dict[str, Any] = json.loads((golden / "pretrain.json").read_text())
    io = load_file(golden / "pretrain.io.safetensors")
    model = pretraining_from_reference(load_file(golden / "pretrain.weights.safetensors"), facts["config"])
    video_mask, audio_mask = io["video_mask"].bool(), io["audio_mask"].bool()
    tube = video_mask.view(len(video_mask), model.video_grid[0], -1)
    assert (tube == tube[:, :1]).all()
    settings = PretrainParams(
        video_mask_ratio=tube[0, 0].float().mean().item() + 1e-6,
        audio_mask_ratio=audio_mask[0].float().mean().item() + 1e-6,
        contrastive_weight=facts["loss_weight"],
    )
    losses = PretrainingObjective(model, settings)(
        io["video"], scores_that_hide(tube[:, 0]), io["audio"], scores_that_hide(audio_mask)
    )
    expected = {"video": "loss_video", "audio": "loss_audio", "contrastive": "loss_contrastive_sum"}
    assert list(losses) == ["total", *expected]
    assert losses["total"].item() == pytest.approx(facts["loss_total"], rel=1e-5)
    for name, key in expected.items():
        assert losses[name].item() == pytest.approx(facts[key], rel=1e-5)
    losses["total"].backward()
    norms = torch.stack([parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None])
    assert norms.norm().item() == pytest.approx(facts["grad_norm_total"], rel=1e-5)


def test_scores_give_the_masks_that_are_drawn_for_reconstructions() -> None:
    objective, (_, video_scores, _, audio_scores) = pretraining()
    seen = []
    objective.model.register_forward_pre_hook(lambda module, inputs: seen.extend((inputs[1], inputs[3])))
    objective(*clips()[:1], video_scores, *clips()[1:], audio_scores)
    masks = draw_masks(SETTINGS, objective.model.video_grid, objective.model.audio_grid, 4, "test")
    for split, mask in zip(seen, masks, strict=True):
        assert all(torch.equal(*pair) for pair in zip(split, split_tokens(mask), strict=True))


def test_a_ratio_that_hides_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.1 hides 0 of 4 positions"):
        PretrainingObjective(pretraining_model("demo", **SMALL), PretrainParams(video_mask_ratio=0.1))


def test_classes_and_values_are_compared_as_ever(params: Callable[..., Params]) -> None:
    objective, (video, audio, labels) = finetuning(params)
    logits = objective.model(video, audio)[:, None]
    assert torch.equal(objective(video, audio, labels)["train_loss"], classification_loss(logits, labels))
    weights = torch.tensor([[0.5, 1.0, 2.0]])
    weighted = FinetuningObjective(objective.model, params().dataset["toy"], params().finetune, weights)
    assert torch.equal(weighted(video, audio, labels)["train_loss"], classification_loss(logits, labels, weights))
    assert list(weighted.state_dict()) == list(objective.state_dict())

    objective, (video, audio, labels) = finetuning(params, "toy_regression")
    expected = regression_loss(objective.model(video, audio), labels, "mse")
    assert torch.equal(objective(video, audio, labels)["train_loss"], expected)


def step(objective: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Losses and gradients."""
    objective.zero_grad()
    losses = objective(*inputs)
    next(iter(losses.values())).backward()
    gradients = {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}
    return {name: value.detach().clone() for name, value in (losses | gradients).items()}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        ("pretraining", "aot_eager"),
        ("finetuning", "aot_eager"),
        pytest.param("pretraining", "inductor", marks=pytest.mark.slow),
    ],
)
def test_a_step_is_one_graph(params: Callable[..., Params], kind: str, backend: str) -> None:
    objective, inputs = pretraining() if kind == "pretraining" else finetuning(params)
    expected = step(objective, inputs)
    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, dynamic=False, backend=backend)
    objective.zero_grad()
    losses = compiled(*inputs)
    next(iter(losses.values())).backward()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-5)
    for name, parameter in objective.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["pretraining", "finetuning"])
def test_nothing_waits_for_the_device(params: Callable[..., Params], kind: str) -> None:
    objective, inputs = pretraining() if kind == "pretraining" else finetuning(params)
    on_cpu = step(objective, inputs)
    objective.cuda()
    inputs = tuple(x.cuda() for x in inputs)
    step(objective, inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu = step(objective, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, value in on_cpu.items():
        assert math.isclose(value.norm().item(), on_gpu[name].norm().item(), rel_tol=1e-3, abs_tol=1e-5), name
