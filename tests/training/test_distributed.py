"""Several processes compute what one computes of all their clips."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed import TCPStore

from hicmae_core.model.pretraining import all_gather_with_grad
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.training import distributed
from hicmae_core.training.learner import Learner
from hicmae_core.training.objectives import PretrainingObjective
from hicmae_core.training.optim import adamw
from hicmae_core.training.pretrain import draw_scores

from .conftest import make_params
from .together import together

BATCH_SIZE = 12
NUM_STEPS = 3
CPU = torch.device("cpu")
SMALL = {
    "image_size": 32, "num_frames": 4, "num_audio_frames": 32, "num_mel_bins": 32, "video_depth": 2, "audio_depth": 2,
    "levels": (1,), "video_decoder_depth": 2, "audio_decoder_depth": 2,
}  # fmt: skip
KEYS = {"contrastive_weight": 0.5, "clip_grad": 1.0, "ema_decay": 0.5}


def parts(num_processes: int, num_parts: int) -> list[list[list[int]]]:
    """Clips of a batch, by process and part."""
    return torch.arange(BATCH_SIZE).view(num_processes, num_parts, -1).tolist()


def learn(clips_of_part: list[list[int]], keys: dict[str, Any]) -> dict[str, Any]:
    """A few steps of pre-training with gathered negatives: losses, the first gradients, norms, averaged weights."""
    settings = make_params(pretrain=KEYS | keys).pretrain
    torch.manual_seed(0)
    model = pretraining_model("demo", **SMALL, gather_negatives=True)
    objective = PretrainingObjective(model, settings)
    wrapped = distributed.wrap_ddp(objective, CPU)
    learner = Learner(model, adamw(model, settings.betas, settings.weight_decay), settings)
    generator = torch.Generator().manual_seed(1)
    video = torch.randn(BATCH_SIZE, 3, 4, 32, 32, generator=generator)
    audio = torch.randn(BATCH_SIZE, 1, 32, 32, generator=generator)
    found: dict[str, Any] = {"gradients": {}, "before": learner.weights()}
    for step in range(NUM_STEPS):
        scores = draw_scores(model.video_grid, model.audio_grid, BATCH_SIZE, step)
        mean: dict[str, Tensor] = {}
        for number, clips in enumerate(clips_of_part):
            with distributed.accumulating(wrapped, is_last=number == len(clips_of_part) - 1):
                losses = wrapped(video[clips], scores[0][clips], audio[clips], scores[1][clips])
                learner.backward(losses["total"] / len(clips_of_part))
            for name, loss in losses.items():
                mean[name] = mean.get(name, torch.zeros(())) + loss.detach() / len(clips_of_part)
        if step == 0 and settings.precision == "float32":
            found["gradients"] = {name: _copy(parameter.grad) for name, parameter in model.named_parameters()}
        learner.step(0.01 + 1e-4 * step, mean)
    found |= {"series": learner.meter.read().series, "weights": learner.weights()}
    return found


def length(tensors: dict[str, Tensor]) -> float:
    return sum(tensor.square().sum().item() for tensor in tensors.values()) ** 0.5


def _copy(value: Tensor | None) -> Tensor:
    assert value is not None
    return value.clone()


def learn_together(by_process: list[list[list[int]]], keys: dict[str, Any]) -> dict[str, Any]:
    return learn(by_process[distributed.rank()], keys)


@pytest.mark.parametrize(
    ("num_processes", "num_parts", "keys"),
    [
        (2, 1, {}),
        (3, 2, {}),
        pytest.param(3, 1, {"precision": "float16"}, marks=pytest.mark.slow),
    ],
)
def test_processes_learn_what_one_learns_of_all_their_clips(
    tmp_path: Path, num_processes: int, num_parts: int, keys: dict[str, Any]
) -> None:
    by_process = parts(num_processes, num_parts)
    results = together(num_processes, learn_together, tmp_path / "together", by_process, keys)
    expected = learn([list(chain(*clips)) for clips in zip(*by_process, strict=True)], keys)
    way = {name: weight - expected["before"][name] for name, weight in expected["weights"].items()}
    for found in results:
        for name, points in expected["series"].items():
            assert [value for _, value in found["series"][name]] == pytest.approx([v for _, v in points], rel=1e-4)
        for name, gradient in expected["gradients"].items():
            torch.testing.assert_close(found["gradients"][name], gradient, rtol=1e-3, atol=1e-6, msg=name)
        assert list(found["weights"]) == list(expected["weights"])
        strayed = {name: weight - expected["weights"][name] for name, weight in found["weights"].items()}
        assert length(strayed) < 0.01 * length(way)


def agree() -> dict[str, Any]:
    rank = distributed.rank()
    distributed.check_same_step(7)
    return {
        "any": [distributed.any_process(flag) for flag in (rank == 1, False, True)],
        "mean": distributed.all_reduce_mean(torch.tensor([float(rank), 1.0])).tolist(),
        "rows": all_gather_with_grad(torch.tensor([[rank], [-rank]])).flatten().tolist(),
    }


def test_processes_agree(tmp_path: Path) -> None:
    expected = {"any": [True, False, True], "mean": [1.0, 1.0], "rows": [0, 0, 1, -1, 2, -2]}
    assert together(3, agree, tmp_path / "three") == [expected] * 3
    assert agree() == {"any": [False, False, True], "mean": [0.0, 1.0], "rows": [0, 0]}


def go_on_after_own_step() -> str:
    with pytest.raises(ValueError, match="all machines share") as refusal:
        distributed.check_same_step(5 + distributed.rank())
    return str(refusal.value)


def test_different_checkpoints_are_refused_by_all(tmp_path: Path) -> None:
    for told in together(2, go_on_after_own_step, tmp_path / "two"):
        assert told.startswith("some processes would go on after step 6, others after step 5")


def test_several_machines_need_a_store_of_their_own_for_each_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0", "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    with pytest.raises(ValueError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"), distributed.process_group(CPU):
        pass


def test_a_batch_that_cannot_be_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed.check_divides(12, 4)
    monkeypatch.setenv("WORLD_SIZE", "3")
    distributed.check_divides(12, 4)
    with pytest.raises(ValueError, match=r"batch_size 16 .* 12 equal parts \(3 processes x accumulation_steps 4\); 12"):
        distributed.check_divides(16, 4)


@pytest.mark.gpu
def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.training_device("cuda:0") == torch.device("cuda:0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.training_device("cuda") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="under torchrun use cuda"):
        distributed.training_device("cuda:0")
