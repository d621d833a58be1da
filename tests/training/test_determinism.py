import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from hicmae_core.config import Params
from hicmae_core.data.clips import ClipDataset
from hicmae_core.training.randomness import deterministic

from .conftest import run_finetuning, run_pretraining
from .trackers import Recorder


def settings() -> tuple[object, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


@pytest.mark.parametrize("workspaces", [None, ":16:8"])
def test_settings_are_strict_within_and_as_before_after(
    monkeypatch: pytest.MonkeyPatch, workspaces: str | None
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspaces is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspaces)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()

    @deterministic(True)
    def fails() -> None:
        assert settings() == (True, False, True, False, False, workspaces or ":4096:8")
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert settings() == before
    with deterministic(False):
        assert settings() == before


def test_an_operation_without_a_deterministic_version_is_refused() -> None:
    weights = torch.tensor([1.0, 2.0])
    target, index = torch.zeros(3), torch.tensor([1, 1])
    target.clone().put_(index, weights)
    with deterministic(True), pytest.raises(RuntimeError, match=r"put_.*does not have a deterministic implementation"):
        target.clone().put_(index, weights)


class Witness(Recorder):
    """Sees whether a training runs deterministically."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        super().log_metrics(values, step)
        assert torch.are_deterministic_algorithms_enabled()


def train_twice(kind: str, params: Params, clips: ClipDataset, folder: Path) -> None:
    models = []
    for out, checkpoints in ((folder / "a", folder / "checkpoints_a"), (folder / "b", folder / "checkpoints_b")):
        path = out / "model.safetensors"
        if kind == "pretrain":
            run_pretraining(params, clips, out, checkpoints, Witness())
        else:
            run_finetuning(params, "toy", 1, clips, None, None, path, checkpoints, Witness())
        models.append(path.read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_training_twice_gives_the_same_bytes(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path, kind: str
) -> None:
    train_twice(kind, params(compute={"deterministic": True}, **{kind: {"epochs": 2}}), labelled, tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_training_twice_on_a_gpu_gives_the_same_bytes(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path, kind: str, precision: str
) -> None:
    keys = {"epochs": 2, "precision": precision}
    train_twice(kind, params(compute={"deterministic": True, "device": "cuda"}, **{kind: keys}), labelled, tmp_path)
