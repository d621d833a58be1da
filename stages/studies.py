"""What a tracked run is: the settings that determine its results, a key made of them, a readable name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hicmae_core.config import Params
from stages import layout

PRETRAINING = "pretraining"
"""The experiment that holds all pre-trainings."""


@dataclass(frozen=True)
class Study:
    """A pre-training, or the folds of one dataset under one recipe."""

    experiment: str
    """Where its runs are kept: a dataset's name, or ``pretraining``."""
    name: str
    """What people read, such as ``demo both pretrained``, or ``crema_d perceived both pretrained, audio shown``."""
    datasets: tuple[str, ...]
    """The datasets whose clips are used; one, but for a pre-training."""
    settings: Mapping[str, Any]
    """The parameters that determine its results, as nested plain values."""

    @property
    def dataset(self) -> str:
        """The name of the dataset, of several joined."""
        return "+".join(self.datasets)

    @property
    def key(self) -> str:
        """The same for the same settings, in any process."""
        return key_of({"experiment": self.experiment, "settings": self.settings})

    def fold_key(self, fold: int) -> str:
        """As `key`, of one fold."""
        return key_of({"study": self.key, "fold": fold})


def pretraining(params: Params) -> Study:
    """The pre-training that `params` describe."""
    chosen = params.pretrain
    without = ["skips"] if not chosen.skips else []
    without += ["contrast"] if chosen.contrastive_weight == 0 else []
    name = f"{'+'.join(chosen.dataset)} {params.model.size}" + (f", without {' and '.join(without)}" if without else "")
    return Study(PRETRAINING, name, chosen.dataset, _settings(params, chosen.dataset, ("model", "faces", "pretrain")))


def cross_validation(params: Params, dataset: str) -> Study:
    """The folds of `dataset` under the recipe of `params`.

    Raises:
        ValueError: If `params` have no such dataset.
    """
    if dataset not in params.dataset:
        raise ValueError(f"no dataset `{dataset}` in params.yaml; there are: {', '.join(params.dataset)}")
    settings = _settings(params, (dataset,), ("model", "faces", "finetune", "evaluate"))
    source = starting_point(params)
    if source is not None:
        settings |= {"pretrain": source.settings["pretrain"], "pretrain_dataset": source.settings["dataset"]}
    chosen = params.finetune
    if chosen.adaptive_epochs:
        settings |= {"pretrain": params.pretrain.model_dump(mode="json")}
    name = " ".join(filter(None, (dataset, params.dataset[dataset].labels, chosen.modality, chosen.init)))
    name += params.dataset[dataset].face_note(chosen.modality)
    name += ", linear probe" if chosen.trainable == "head" else ""
    name += f", {100 * chosen.label_fraction:g} % of the labels" if chosen.label_fraction < 1 else ""
    name += ", last layer" if chosen.fusion == "last" else ""
    name += ", adapted" if chosen.adaptive_epochs else ""
    name += ", statistics" if chosen.pooling == "statistics" else ""
    if params.evaluate.modality not in ("both", params.finetune.modality):
        name += f", {params.evaluate.modality} shown"
    return Study(dataset, name, (dataset,), settings)


def starting_point(params: Params) -> Study | None:
    """The pre-training that fine-tuning starts from; None from scratch or from published weights."""
    ours = params.finetune.init == "pretrained" and params.finetune.checkpoint == layout.PRETRAINED_MODEL
    return pretraining(params) if ours else None


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``finetune.augmentation.mixup`` and the like."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat


def key_of(value: Any) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _settings(params: Params, datasets: tuple[str, ...], sections: tuple[str, ...]) -> dict[str, Any]:
    values = params.model_dump(mode="json")
    settings = {name: values[name] for name in ("seed", *sections)}
    described = {name: {"name": name, **values["dataset"][name]} for name in datasets}
    settings["dataset"] = described if len(datasets) > 1 else described[datasets[0]]
    if any(params.dataset[name].corpus.startswith("demo") for name in datasets):
        settings["corpus"] = values["corpus"]
    return settings
