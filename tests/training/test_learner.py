import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hicmae_core.config import Params
from hicmae_core.training.learner import Learner
from hicmae_core.training.optim import adamw

Make = Callable[..., Learner]


@pytest.fixture
def make(params: Callable[..., Params]) -> Make:
    def learner(**keys: Any) -> Learner:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
        recipe = params(pretrain={"weight_decay": 0.0} | keys).pretrain
        return Learner(model, adamw(model, recipe.betas, recipe.weight_decay), recipe)

    return learner


def take_step(learner: Learner, x: Tensor, scale: float = 1.0) -> None:
    loss = scale * learner.model(x).square().mean()
    learner.backward(loss)
    learner.step(0.01, {"loss": loss})


def weights(learner: Learner) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in learner.model.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


X = torch.ones(3, 4)


@pytest.mark.parametrize(("policy", "goes_on"), [("stop", False), ("skip", True)])
def test_a_step_that_is_not_finite_is_not_taken(make: Make, policy: str, goes_on: bool) -> None:
    learner = make(on_nonfinite=policy)
    take_step(learner, X)
    before, moments = weights(learner), learner.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    take_step(learner, X, math.nan)
    assert same(weights(learner), before)
    assert torch.equal(learner.optimizer.state_dict()["state"][0]["exp_avg"], moments)
    take_step(learner, X)
    assert same(weights(learner), before) != goes_on
    assert learner.meter.read().skipped == ([1] if goes_on else [1, 2])


def test_half_precision_lowers_its_scale_instead_of_stopping(make: Make) -> None:
    learner = make(precision="float16")
    before = weights(learner)
    take_step(learner, X, 1e36)  # finite, but not when it is scaled
    assert same(weights(learner), before)
    reading = learner.meter.read()
    assert reading.skipped == []
    for _ in range(3):
        take_step(learner, X)
    assert not same(weights(learner), before)
    take_step(learner, X, math.nan)
    assert learner.meter.read().skipped == [4]


def test_clipping_bounds_the_step_s_gradient_and_reports_the_norm_before(make: Make) -> None:
    free, clipped = make(), make(clip_grad=1e-3)
    for learner in (free, clipped):
        take_step(learner, X)
    norms = [learner.meter.read().series["gradient_norm"][0][1] for learner in (free, clipped)]
    assert norms[0] == norms[1] > 1e-3
    totals = [
        sum(state["exp_avg"].square().sum() for state in learner.optimizer.state_dict()["state"].values()) ** 0.5
        for learner in (free, clipped)
    ]
    assert totals[1] / totals[0] == pytest.approx(1e-3 / norms[0], rel=1e-3)


def test_the_average_of_the_weights_follows_its_formula_and_is_shown_for_a_while(make: Make) -> None:
    learner = make(ema_decay=0.75)
    expected = weights(learner)
    for _ in range(3):
        take_step(learner, X)
        expected = [0.75 * e + 0.25 * w for e, w in zip(expected, weights(learner), strict=True)]
    trained = weights(learner)
    with learner.averaged():
        for value, wanted in zip(weights(learner), expected, strict=True):
            torch.testing.assert_close(value, wanted)
    assert same(weights(learner), trained)
    torch.testing.assert_close(list(learner.weights().values()), expected)


@pytest.mark.parametrize("keys", [{}, {"ema_decay": 0.9, "precision": "float16"}])
def test_restored_equals_uninterrupted(make: Make, keys: dict[str, Any]) -> None:
    whole, first, second = make(**keys), make(**keys), make(**keys)
    for _ in range(3):
        take_step(whole, X)
        take_step(first, X)
    first.meter.read()
    second.restore(first.state())
    for learner in (whole, second):
        take_step(learner, 2 * X)
    assert same(weights(whole), weights(second))
    assert same(list(whole.weights().values()), list(second.weights().values()))
    assert whole.num_steps == second.num_steps == 4
    with torch.no_grad():
        first.model[0].weight.zero_()
    assert same(weights(whole), weights(second)), "a restored learner shares nothing with the state"


def test_the_first_of_the_highest_scores_is_the_best(make: Make) -> None:
    learner = make()
    improved = [learner.end_epoch({"epoch": epoch, "score": score}) for epoch, score in enumerate([0.1, 0.5, 0.5, 0.2])]
    assert improved == [True, True, False, False]
    assert learner.best_epoch == 1
    assert not make().end_epoch({"epoch": 0})
