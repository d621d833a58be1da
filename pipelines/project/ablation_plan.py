"""What the ablation and the study compare: arms, protocols and seeds, as changes of params.yaml."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hicmae_core.config import ComputeParams, Params, parse_params
from pipelines.project.configure import set_key

Settings = Mapping[str, Any]
"""Values by dotted key of params.yaml."""
Pretraining = tuple[Any, ...]
"""A seed, and what is changed of the section `pretrain`."""


@dataclass(frozen=True)
class Variation:
    """An arm or a protocol."""

    name: str
    """For commands and names of experiments."""
    title: str
    """For reports."""
    settings: Settings
    """What it changes."""
    on_demand: bool = False
    """Runs only where it is named."""


_SKIPS: Settings = {"pretrain.skips": False}
_CONTRAST: Settings = {"pretrain.contrastive_weight": 0.0}
_FUSION: Settings = {"finetune.fusion": "last"}


@dataclass(frozen=True)
class Comparison:
    """What is compared, from params.yaml as it stands."""

    name: str
    """For commands, reports and names of experiments."""
    arms: tuple[Variation, ...]
    """Models to compare; differences are to the first."""
    protocols: tuple[Variation, ...]
    """Ways in which all arms are trained."""
    seeds: tuple[int, ...]
    """Of training, unless others are asked for."""
    folds: tuple[int, ...] | None
    """Test folds, unless others are asked for; None means all of params.yaml."""
    demands: Mapping[str, Callable[[Params], bool]]
    """What params.yaml must describe, in words."""

    def check(self, params: Params) -> None:
        """Demand that params.yaml describes what the arms start from.

        Raises:
            ValueError: Naming what it lacks.
        """
        lacking = [words for words, is_met in self.demands.items() if not is_met(params)]
        if lacking:
            raise ValueError(f"the {self.name} starts from the whole method; set in params.yaml: {', '.join(lacking)}")


_PRETRAINED: Mapping[str, Callable[[Params], bool]] = {
    "finetune.init pretrained": lambda params: params.finetune.init == "pretrained",
    "finetune.modality both": lambda params: params.finetune.modality == "both",
    "finetune.label_fraction 1": lambda params: params.finetune.label_fraction == 1,
}

ABLATION = Comparison(
    "ablation",
    (
        Variation("scratch", "no pre-training", {"finetune.init": "scratch"}),
        Variation("reconstruction", "reconstruction only", {**_SKIPS, **_CONTRAST, **_FUSION}),
        Variation("skips", "reconstruction + hierarchical skips", {**_CONTRAST, **_FUSION}),
        Variation("contrast", "reconstruction + hierarchical contrast", {**_SKIPS, **_FUSION}),
        Variation("fusion", "reconstruction + hierarchical fusion", {**_SKIPS, **_CONTRAST}),
        Variation("full", "full", {}),
    ),
    (
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
    ),
    seeds=(0, 1, 2),
    folds=(1, 2),
    demands={
        "pretrain.skips true": lambda params: params.pretrain.skips,
        "pretrain.contrastive_weight above 0": lambda params: params.pretrain.contrastive_weight > 0,
        "finetune.fusion hierarchical": lambda params: params.finetune.fusion == "hierarchical",
        "finetune.trainable all": lambda params: params.finetune.trainable == "all",
        **_PRETRAINED,
    },
)

STUDY = Comparison(
    "study",
    (
        Variation("scratch", "no pre-training", {"finetune.init": "scratch"}),
        Variation("pretrained", "pre-trained", {}),
        Variation(
            "pretrained-indomain",
            "pre-trained, then on the training speakers",
            {"finetune.adaptive_epochs": 40},
            on_demand=True,
        ),
    ),
    (
        Variation("both", "face and voice", {}),
        Variation("audio", "voice", {"finetune.modality": "audio"}),
        Variation("video", "face", {"finetune.modality": "video"}),
        Variation(
            "dropout",
            "face and voice, either hidden at times",
            {"finetune.modality_dropout": 0.3},
            on_demand=True,
        ),
    ),
    seeds=(0,),
    folds=None,
    demands=_PRETRAINED,
)

COMPARISONS = {comparison.name: comparison for comparison in (ABLATION, STUDY)}


@dataclass(frozen=True)
class Experiment:
    """One arm under one protocol with one seed."""

    comparison: str
    arm: Variation
    protocol: Variation
    seed: int
    dataset: str
    folds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the DVC experiment."""
        return f"{self.comparison}-{self.protocol.name}-{self.arm.name}-{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """All that differs from params.yaml."""
        folds = {f"folds.{self.dataset}": list(self.folds)}
        return {"seed": self.seed, **folds, **self.protocol.settings, **self.arm.settings}

    @property
    def pretraining(self) -> Pretraining:
        """What its pre-training differs from others' in."""
        return self.seed, *(item for item in self.settings.items() if item[0].startswith("pretrain."))

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


def plan(comparison: Comparison, seeds: Sequence[int], dataset: str, folds: Sequence[int]) -> list[Experiment]:
    """All combinations."""
    return [
        Experiment(comparison.name, arm, protocol, seed, dataset, tuple(folds))
        for seed, protocol, arm in itertools.product(seeds, comparison.protocols, comparison.arms)
    ]


def in_turn(experiments: Sequence[Experiment], seed: int) -> tuple[list[Experiment], list[Experiment]]:
    """Those that are run first, and those that find their pre-training in DVC's run cache then.

    First comes one experiment of each pre-training; two of one pre-training at the same time would both compute it.

    Args:
        experiments: What is to run.
        seed: Of params.yaml, whose own pre-training is there already.
    """
    known: set[Pretraining] = {(seed,)}
    first: list[Experiment] = []
    later: list[Experiment] = []
    for experiment in experiments:
        (later if experiment.pretraining in known else first).append(experiment)
        known.add(experiment.pretraining)
    return first, later


def same_results(one: Params, other: Params) -> bool:
    """Whether two sets of parameters compute the same, wherever they run."""
    elsewhere = {"compute": ComputeParams()}
    return one.model_copy(update=elsewhere) == other.model_copy(update=elsewhere)
