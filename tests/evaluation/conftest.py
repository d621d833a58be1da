"""Tables of predictions as `predict` makes them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams


@pytest.fixture(scope="session")
def emotions() -> DatasetParams:
    return DatasetParams(corpus="csv", classes=("anger", "happiness", "neutral", "sadness"), num_folds=3)


@pytest.fixture(scope="session")
def affect() -> DatasetParams:
    return DatasetParams(corpus="csv", task="regression", targets=("arousal", "valence"), num_folds=3)


@pytest.fixture(scope="session")
def load() -> DatasetParams:
    """Two targets of three classes each, as AVCAFFE's are of five."""
    targets = ("arousal", "valence")
    return DatasetParams(
        corpus="csv", task="multi_classification", classes=("low", "mid", "high"), targets=targets, num_folds=3
    )


@pytest.fixture(scope="session")
def predictions_of() -> Callable[..., pd.DataFrame]:
    """Builds a fold's table: `predictions_of(dataset, fold=1, num_clips=40)`."""

    def build(dataset: DatasetParams, fold: int = 1, num_clips: int = 40) -> pd.DataFrame:
        rng = np.random.default_rng(fold)
        table = pd.DataFrame(
            {
                "clip_id": [f"{fold}_{index}" for index in range(num_clips)],
                "subject": [f"0{fold}{index % 4}" if index % 7 else None for index in range(num_clips)],
                "modality": "both",
                "shown": "both",
            }
        )
        if dataset.task == "regression":
            for name in dataset.targets:
                table[f"target_{name}"] = rng.normal(size=num_clips).astype(np.float32)
                table[f"output_{name}"] = table[f"target_{name}"] + rng.normal(size=num_clips).astype(np.float32)
            return table
        for suffix in dataset.suffixes:
            probabilities = rng.dirichlet(np.ones(len(dataset.classes)), size=num_clips)
            table[f"label{suffix}"] = rng.integers(len(dataset.classes), size=num_clips)
            table[f"prediction{suffix}"] = probabilities.argmax(axis=1)
            for index, name in enumerate(dataset.classes):
                table[f"p{suffix}_{name}"] = probabilities[:, index]
        return table

    return build
