import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hicmae_core.model.sizes import classifier, pretraining_model
from hicmae_core.training.optim import cosine_schedule, parameter_groups, set_learning_rate


def test_schedule_matches_the_release(golden: Path) -> None:
    for case in json.loads((golden / "cosine_schedule.json").read_text()).values():
        args = case["args"]
        schedule = cosine_schedule(
            args["base_value"], args["final_value"], args["epochs"], args["niter_per_ep"], args["warmup_epochs"]
        )
        np.testing.assert_allclose(schedule, case["values"], rtol=1e-12)


def test_schedule_without_warmup_starts_at_the_base_rate() -> None:
    schedule = cosine_schedule(1.0, 0.1, epochs=3, steps_per_epoch=2, warmup_epochs=0)
    assert schedule.shape == (6,)
    assert schedule[0] == 1.0
    assert np.all(np.diff(schedule) < 0)


def test_learning_rate_reaches_every_group_by_its_share() -> None:
    weight, bias = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([{"params": [weight], "lr_scale": 1.0}, {"params": [bias], "lr_scale": 0.5}], lr=0.0)
    set_learning_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]


def test_plain_groups_split_by_decay_only() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    groups = parameter_groups(model, weight_decay=0.05)
    assert {(group["weight_decay"], len(group["params"]), group["lr_scale"]) for group in groups} == {
        (0.05, 1, 1.0),
        (0.0, 3, 1.0),
    }


def test_layer_decay_matches_the_release(golden: Path) -> None:
    expected = json.loads((golden / "layer_decay.json").read_text())["params"]
    model = classifier("tiny", 6)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr_scale"], group["weight_decay"])
        for group in parameter_groups(model, weight_decay=0.05, layer_decay=0.75)
        for parameter in group["params"]
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value["lr_scale"]), value["weight_decay"]), name


def test_one_modality_alone_has_its_own_top() -> None:
    groups = parameter_groups(classifier("demo", 4, modality="audio"), weight_decay=0.05, layer_decay=0.5)
    assert sorted({group["lr_scale"] for group in groups}) == [0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5, 1.0]


def test_mask_tokens_do_not_decay() -> None:
    model = pretraining_model("demo")
    for group in parameter_groups(model, weight_decay=0.05):
        if any(parameter is model.mask_token or parameter is model.mask_token_audio for parameter in group["params"]):
            assert group["weight_decay"] == 0.0
