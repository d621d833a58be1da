"""Where every file of the graph lives, relative to the project's root; dvc.yaml names the same paths."""

from pathlib import Path

RAW = Path("data/raw")
PRETRAIN = Path("models/pretrain")
PRETRAINED_MODEL = PRETRAIN / "model.safetensors"
CHECKPOINTS = Path("checkpoints")
REPORTS = Path("reports")
FOLDS = Path("folds")


def raw_folder(dataset: str) -> Path:
    """The dataset's raw files; a link to where they really are will do."""
    return RAW / dataset


def manifest_file(dataset: str) -> Path:
    """One row per clip."""
    return Path("data/manifests") / f"{dataset}.parquet"


def faces_folder(dataset: str) -> Path:
    """Shards of face crops."""
    return Path("data/faces") / dataset


def audio_folder(dataset: str) -> Path:
    """Shards of log-mel features."""
    return Path("data/audio") / dataset


def preparation_cache(stage: str, dataset: str) -> Path:
    """Finished shards, outside the outputs that DVC deletes before a stage runs, so that the next run has them."""
    return CHECKPOINTS / f"prepare-{stage}-{dataset}"


def preparation_metrics(stage: str, dataset: str) -> Path:
    """Counts of a preparation stage."""
    return Path("results/preparation") / f"{stage}-{dataset}.json"


def finetune_folder(dataset: str, fold: int) -> Path:
    """A fold's model and training history."""
    return Path("models/finetune") / dataset / str(fold)


def results_folder(dataset: str, fold: int) -> Path:
    """A fold's predictions and metrics."""
    return Path("results") / dataset / str(fold)
