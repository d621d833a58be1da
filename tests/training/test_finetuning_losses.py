from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hicmae_core.config import RegressionLoss
from hicmae_core.evaluation.metrics import regression_metrics
from hicmae_core.training import distributed
from hicmae_core.training.losses import classification_loss, regression_loss, shared_regression_loss, smooth_one_hot

from .together import together

KINDS = ("mse", "l1", "smooth_l1", "ccc", "pcc")


def tables(num_clips: int = 12, num_targets: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(num_clips, num_targets, generator=generator)
    return targets + 0.3 * torch.randn(num_clips, num_targets, generator=generator), targets


@pytest.mark.parametrize("kind", ["ccc", "pcc"])
def test_correlations_are_those_of_numpy_and_of_the_metrics(kind: str) -> None:
    outputs, targets = tables()
    coefficients = []
    for o, t in zip(outputs.double().numpy().T, targets.double().numpy().T, strict=True):
        covariance = np.cov(o, t)
        ccc = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (o.mean() - t.mean()) ** 2)
        coefficients.append(np.corrcoef(o, t)[0, 1] if kind == "pcc" else ccc)
    loss = regression_loss(outputs, targets, kind).item()
    assert loss == pytest.approx(1 - np.mean(coefficients), abs=1e-6)
    assert loss == pytest.approx(1 - regression_metrics(targets, outputs, "abc")[kind], abs=1e-6)


def test_distances_are_those_of_numpy() -> None:
    outputs, targets = tables()
    error = np.abs(outputs.double().numpy() - targets.double().numpy())
    smooth = np.where(error < 1, error**2 / 2, error - 0.5)
    for kind, expected in (("mse", error**2), ("l1", error), ("smooth_l1", smooth)):
        assert regression_loss(outputs, targets, kind).item() == pytest.approx(expected.mean(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("constant", ["outputs", "targets", "both", "one clip"])
def test_constant_batches_give_finite_gradients(kind: str, constant: str) -> None:
    outputs, targets = tables(num_clips=1 if constant == "one clip" else 4)
    if constant in ("outputs", "both"):
        outputs = torch.full_like(outputs, 0.3)
    if constant in ("targets", "both"):
        targets = torch.full_like(targets, 0.3)
    outputs.requires_grad_()
    loss = regression_loss(outputs, targets, kind)
    loss.backward()
    assert loss.isfinite()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    if kind in ("ccc", "pcc"):
        assert loss.item() == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_descent_reaches_the_targets(kind: str) -> None:
    outputs, targets = tables()
    outputs = torch.nn.Parameter(outputs)
    optimizer = torch.optim.Adam([outputs], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss = regression_loss(outputs, targets, kind)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_one_target_is_the_usual_cross_entropy() -> None:
    logits = torch.randn(7, 1, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(7) % 5
    ours = classification_loss(logits, smooth_one_hot(labels[:, None], 5, 0.1))
    torch.testing.assert_close(ours, F.cross_entropy(logits[:, 0], labels, label_smoothing=0.1))


def test_several_targets_cost_the_mean_of_their_cross_entropies() -> None:
    logits = torch.randn(7, 2, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.stack([torch.arange(7) % 5, torch.arange(7) % 3], dim=1)
    ours = classification_loss(logits, smooth_one_hot(labels, 5, 0.0))
    alone = [F.cross_entropy(logits[:, target], labels[:, target]) for target in (0, 1)]
    torch.testing.assert_close(ours, torch.stack(alone).mean())


def test_class_weights_multiply_each_clip_s_terms() -> None:
    logits = torch.randn(6, 1, 3, generator=torch.Generator().manual_seed(0))
    labels, weights = torch.tensor([0, 0, 0, 0, 1, 2]), torch.tensor([[0.5, 2.0, 2.0]])
    ours = classification_loss(logits, smooth_one_hot(labels[:, None], 3, 0.0), weights)
    each = F.cross_entropy(logits[:, 0], labels, reduction="none")
    torch.testing.assert_close(ours, (each * weights[0, labels]).mean())


def test_label_smoothing_spreads_over_all_classes() -> None:
    targets = smooth_one_hot(torch.tensor([0, 2]), num_classes=4, smoothing=0.2)
    torch.testing.assert_close(targets, torch.tensor([[0.85, 0.05, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05]]))


def shared_loss_and_gradient(kind: RegressionLoss) -> tuple[float, torch.Tensor]:
    """Of a linear model of 12 clips, averaged over the processes that have a share of them each."""
    inputs, targets = tables()
    own = distributed.share(len(inputs) // distributed.world_size())
    weight = torch.eye(inputs.shape[1]).requires_grad_()
    loss = shared_regression_loss(inputs[own] @ weight, targets[own], kind)
    loss.backward()
    assert weight.grad is not None
    return distributed.all_reduce_mean(loss.detach()).item(), distributed.all_reduce_mean(weight.grad)


@pytest.mark.parametrize(("kind", "num_processes"), [("ccc", 3), ("pcc", 2), ("mse", 2)])
def test_processes_share_the_loss_of_all_their_clips(tmp_path: Path, kind: RegressionLoss, num_processes: int) -> None:
    loss, gradient = shared_loss_and_gradient(kind)
    for found in together(num_processes, shared_loss_and_gradient, tmp_path / "results", kind):
        assert found[0] == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(found[1], gradient, rtol=1e-4, atol=1e-6)
