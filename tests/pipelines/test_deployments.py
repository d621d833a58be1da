"""prefect.yaml names flows that exist, with parameters that show as a form."""

import contextlib
import importlib
import json
import re
import shlex
from typing import Any

import pytest
import yaml
from prefect.exceptions import ParameterTypeError

from hicmae_core.config import Modality
from tests.conftest import ROOT

DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def flow_of(deployment: dict[str, Any]):
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_each_deployment_is_described_and_its_parameters_are_typed(deployment) -> None:
    flow = flow_of(deployment)
    assert flow.name == deployment["name"], "so that `prefect deployment run NAME/NAME` is easy to remember"
    assert deployment["description"]
    assert deployment["tags"]
    assert all(not schedule["active"] for schedule in deployment.get("schedules", ()))
    for name, field in flow.parameters.properties.items():
        assert field["description"], name
        assert field["type"] in ("string", "array", "boolean", "integer"), name
    for trigger in deployment.get("triggers", ()):
        assert trigger["parameters"].keys() <= flow.parameters.properties.keys()


def test_choices_are_offered_and_mistakes_are_refused_before_a_run_starts() -> None:
    flows = {deployment["name"]: flow_of(deployment) for deployment in DEPLOYMENTS}
    assert flows["cross-validate"].parameters.properties["modality"]["enum"] == list(Modality.__args__)
    assert "pretrain_voxceleb2_base" in flows["pretrain"].parameters.properties["preset"]["enum"]
    mistakes = [
        ("cross-validate", {"dataset": "Not A Name"}),
        ("cross-validate", {"dataset": "demo", "modality": "smell"}),
        ("cross-validate", {"dataset": "demo", "folds": [0]}),
        ("reproduce", {"max_parallel": 0}),
        ("ablate", {"arms": ["leg"]}),
    ]
    for name, parameters in mistakes:
        with pytest.raises(ParameterTypeError, match=next(reversed(parameters))):
            flows[name].validate_parameters(parameters)


def test_the_docs_have_a_line_for_each_that_its_flow_takes() -> None:
    page = (ROOT / "docs" / "prefect.md").read_text()
    lines = dict(re.findall(r"`prefect deployment run (\S+) (.+?)`", page))
    assert set(lines) == {f"{deployment['name']}/{deployment['name']}" for deployment in DEPLOYMENTS}
    for deployment in DEPLOYMENTS:
        options = shlex.split(lines[f"{deployment['name']}/{deployment['name']}"])
        assert set(options[::2]) == {"--param"}
        parameters: dict[str, Any] = dict(option.split("=", 1) for option in options[1::2])
        for name, value in parameters.items():
            with contextlib.suppress(json.JSONDecodeError):  # a string, as for `prefect deployment run`
                parameters[name] = json.loads(value)
        flow_of(deployment).validate_parameters(parameters)
