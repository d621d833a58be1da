"""Small prepared clips whose colour and pitch tell their class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.io import encode_jpeg

from hicmae_core.config import Params, parse_params
from hicmae_core.data.clips import ClipDataset
from hicmae_core.finetuning import finetune
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore
from hicmae_core.training import pretrain
from hicmae_core.training.loop import TrainSettings

CLASSES = np.arange(24, dtype=np.int64) % 3
CLIP_IDS = [f"clip{index:02d}" for index in range(24)]

PARAMS: dict[str, Any] = {
    "seed": 5,
    "folds": {"toy": [1]},
    "compute": {"device": "cpu"},
    "dataset": {
        "toy": {"corpus": "csv", "classes": ["a", "b", "c"], "num_folds": 2},
        "toy_regression": {"corpus": "csv", "task": "regression", "targets": ["arousal", "valence"], "num_folds": 2},
        "toy_load": {
            "corpus": "csv", "task": "multi_classification", "classes": ["low", "mid", "high"],
            "targets": ["arousal", "valence"], "num_folds": 2,
        },
        "toy_rare": {"corpus": "csv", "classes": ["common", "rare"], "num_folds": 2},
        "toy_unlabelled": {"corpus": "csv", "task": "unlabelled"},
    },
    "model": {"size": "demo", "image_size": 32, "num_frames": 4, "frame_stride": 1, "num_audio_frames": 32},
    "pretrain": {
        "dataset": "toy_unlabelled", "epochs": 3, "warmup_epochs": 1, "batch_size": 8, "base_lr": 0.02,
        "video_mask_ratio": 0.5,
    },
    "finetune": {"epochs": 3, "warmup_epochs": 1, "batch_size": 8, "base_lr": 0.03},
}  # fmt: skip

NO_AUGMENTATION = {
    "randaugment_num_ops": 0, "crop_scale": [1, 1], "crop_ratio": [1, 1], "flip": False, "erasing": 0, "mixup": 0,
    "cutmix": 0, "label_smoothing": 0, "audio_gain": False,
}  # fmt: skip


def make_params(**sections: dict[str, Any]) -> Params:
    """The small parameters with some keys of some sections changed."""
    return parse_params({**PARAMS, **{name: PARAMS[name] | keys for name, keys in sections.items()}}, "test")


def write_clips(folder: Path) -> None:
    """Prepare 24 clips of 3 classes in turn."""
    rng = np.random.default_rng(0)
    faces, audio = [], []
    for clip_id, label in zip(CLIP_IDS, CLASSES, strict=True):
        frames = []
        for _ in range(8):
            image = rng.integers(0, 60, (3, 40, 40), dtype=np.uint8)
            image[label] += 150
            frames.append(encode_jpeg(torch.from_numpy(image)).numpy().tobytes())
        fbank = rng.normal(-6, 2, (40, 128))
        fbank[:, 40 * label : 40 * label + 40] += 6
        faces.append({"clip_id": clip_id, "fps": 25.0, "frames": frames})
        audio.append({"clip_id": clip_id, "num_samples": 40 * 160 + 240, "fbank": list(fbank.astype(np.float16))})
    write_shards(folder / "faces", faces, FACES_SCHEMA, num_shards=2)
    write_shards(folder / "audio", audio, AUDIO_SCHEMA, num_shards=1)


def open_clips(folder: Path, labels: str) -> ClipDataset:
    """The clips of `write_clips`; `labels` is classes, targets or none."""
    targets = np.stack([CLASSES / 2, 1 - CLASSES / 2], axis=1).astype(np.float32)
    chosen = {"classes": CLASSES, "targets": targets, "none": None}[labels]
    return ClipDataset(ClipStore(folder / "faces"), ClipStore(folder / "audio"), CLIP_IDS, chosen, make_params().model)


@pytest.fixture(scope="session")
def params() -> Callable[..., Params]:
    return make_params


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


@pytest.fixture(scope="session")
def labelled(clips_folder: Path) -> ClipDataset:
    return open_clips(clips_folder, "classes")


@pytest.fixture(scope="session")
def with_targets(clips_folder: Path) -> ClipDataset:
    return open_clips(clips_folder, "targets")


@pytest.fixture(scope="session")
def unlabelled(clips_folder: Path) -> ClipDataset:
    return open_clips(clips_folder, "none")


def run_pretraining(params: Params, *arguments: Any) -> dict[str, float]:
    """Pre-train as the stage does."""
    return pretrain.run_pretraining(TrainSettings.of(params, params.pretrain), *arguments)


def adapt(params: Params, *arguments: Any) -> Path:
    """Adapt to a fold's clips as the stage does."""
    return pretrain.adapt(TrainSettings.of(params, params.pretrain), params.finetune.adaptive_epochs, *arguments)


def run_finetuning(params: Params, name: str, *arguments: Any, **more: Any) -> dict[str, float]:
    """Fine-tune a dataset of the parameters as the stage does."""
    notes = {"dataset": name, "faces": params.faces_of(name).model_dump(mode="json")}
    settings, dataset = TrainSettings.of(params, params.finetune), params.dataset[name]
    return finetune.run_finetuning(settings, dataset, *arguments, **more, notes=notes)
