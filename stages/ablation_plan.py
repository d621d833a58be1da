"""What an ablation compares: arms, protocols and seeds, as changes of params.yaml."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hicmae_core.config import ComputeParams, Params, parse_params
from stages.configure import set_key

Settings = Mapping[str, Any]
"""Values by dotted key of params.yaml."""


@dataclass(frozen=True)
class Variation:
    """An arm or a protocol."""

    name: str
    """For commands and names of experiments."""
    title: str
    """For reports."""
    settings: Settings
    """What it changes."""


_SKIPS: Settings = {"pretrain.skips": False}
_CONTRAST: Settings = {"pretrain.contrastive_weight": 0.0}
_FUSION: Settings = {"finetune.fusion": "last"}

ARMS = (
    Variation("scratch", "no pre-training", {"finetune.init": "scratch"}),
    Variation("reconstruction", "reconstruction only", {**_SKIPS, **_CONTRAST, **_FUSION}),
    Variation("skips", "reconstruction + hierarchical skips", {**_CONTRAST, **_FUSION}),
    Variation("contrast", "reconstruction + hierarchical contrast", {**_SKIPS, **_FUSION}),
    Variation("fusion", "reconstruction + hierarchical fusion", {**_SKIPS, **_CONTRAST}),
    Variation("full", "full", {}),
)
BASELINE = ARMS[0]

PROTOCOLS = (
    Variation(
        "probe",
        "linear probe",
        {"finetune.trainable": "head", "finetune.epochs": 6, "finetune.warmup_epochs": 1, "finetune.base_lr": 0.1},
    ),
    Variation(
        "few",
        "a quarter of the labels",
        {"finetune.label_fraction": 0.25, "finetune.epochs": 24, "finetune.warmup_epochs": 3},
    ),
    Variation("all", "all labels", {"finetune.epochs": 8, "finetune.warmup_epochs": 1}),
)


@dataclass(frozen=True)
class Experiment:
    """One arm under one protocol with one seed."""

    arm: Variation
    protocol: Variation
    seed: int
    dataset: str
    folds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the DVC experiment."""
        return f"ablation-{self.protocol.name}-{self.arm.name}-{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """All that differs from params.yaml."""
        folds = {f"folds.{self.dataset}": list(self.folds)}
        return {"seed": self.seed, **folds, **self.protocol.settings, **self.arm.settings}

    @property
    def overrides(self) -> list[str]:
        """The same as ``--set-param`` of DVC wants it."""
        return [
            f"++{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in self.settings.items()
        ]

    def params(self, values: Mapping[str, Any]) -> Params:
        """The parameters it runs under, where params.yaml holds `values`.

        Raises:
            ValueError: If the two do not go together.
        """
        changed = copy.deepcopy(dict(values))
        for key, value in self.settings.items():
            set_key(changed, key, value)
        return parse_params(changed, f"params.yaml as {self.name} changes it")


def plan(
    arms: Iterable[Variation],
    protocols: Iterable[Variation],
    seeds: Sequence[int],
    dataset: str,
    folds: Sequence[int],
) -> list[Experiment]:
    """All combinations, one of each pre-training first, so that the others find it in the run cache."""
    pretrainings = set()
    first, later = [], []
    for seed, protocol, arm in itertools.product(seeds, protocols, arms):
        pretraining = seed, *(item for item in arm.settings.items() if item[0].startswith("pretrain."))
        known = pretraining in pretrainings
        (later if known else first).append(Experiment(arm, protocol, seed, dataset, tuple(folds)))
        pretrainings.add(pretraining)
    return first + later


def check_full(params: Params) -> None:
    """Demand that params.yaml describes the whole method, from which the arms take something away.

    Raises:
        ValueError: Naming what it lacks.
    """
    pretrain, finetune = params.pretrain, params.finetune
    wanted = {
        "pretrain.skips true": pretrain.skips,
        "pretrain.contrastive_weight above 0": pretrain.contrastive_weight > 0,
        "finetune.fusion hierarchical": finetune.fusion == "hierarchical",
        "finetune.init pretrained": finetune.init == "pretrained",
        "finetune.modality both": finetune.modality == "both",
        "finetune.trainable all": finetune.trainable == "all",
        "finetune.label_fraction 1": finetune.label_fraction == 1,
    }
    lacking = [key for key, there in wanted.items() if not there]
    if lacking:
        raise ValueError(f"an ablation starts from the whole method; set in params.yaml: {', '.join(lacking)}")


def same_results(one: Params, other: Params) -> bool:
    """Whether two sets of parameters compute the same, wherever they run."""
    elsewhere = {"compute": ComputeParams()}
    return one.model_copy(update=elsewhere) == other.model_copy(update=elsewhere)
