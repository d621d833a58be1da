"""Checkpoints of weights that are spread over processes."""

import io
import pickle
import resource
import shutil
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from hicmae_core.config import ComputeParams
from hicmae_core.training import distributed, sharded_files
from hicmae_core.training.random_state import random_state
from hicmae_core.training.sharded_checkpoint import ShardedCheckpointStore, checkpoint_store

from .together import together


class Learner:
    """A small model in training; its weights are spread over processes if there are several."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3), nn.BatchNorm1d(3))
        if distributed.world_size() > 1:
            mesh = init_device_mesh("cpu", (distributed.world_size(),))
            for module in (self.model[0], self.model[2], self.model):
                fully_shard(module, mesh=mesh)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1, fused=True)
        for parameter in self.model.parameters():
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.zeros(())} | moments
        self.num_steps = 0

    def learn(self, num_steps: int) -> "Learner":
        """The same clips in every process, so that the result does not depend on their number."""
        for _ in range(num_steps):
            inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(self.num_steps))
            self.model(inputs).square().sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.num_steps += 1
        return self

    def state(self) -> dict[str, Any]:
        history = [{"epoch": number} for number in range(self.num_steps)]
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state | {"num_steps": self.num_steps, "history": history, "empty": torch.zeros(0), "none": None}

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_steps = state["num_steps"]
        assert [row["epoch"] for row in state["history"]] == list(range(self.num_steps))
        assert state["none"] is None
        assert state["empty"].shape == (0,)

    def whole(self) -> dict[str, Tensor]:
        return distributed.full_state_dict(self.model)


def save(folder: Path) -> dict[str, Tensor]:
    store, learner = ShardedCheckpointStore(folder), Learner(0)
    for _ in range(3):
        learner.learn(2)
        store.save(learner.state() | {"random": random_state()}, learner.num_steps)
        assert store.wait()
    return learner.learn(2).whole()


def resume(folder: Path, num_steps: int) -> dict[str, Tensor]:
    learner = Learner(1)
    template = learner.state()
    before = learner.whole()
    state = ShardedCheckpointStore(folder).latest(template)
    assert state is not None
    assert all(torch.equal(value, before[name]) for name, value in learner.whole().items())
    assert state["random"]["torch"].dtype == torch.uint8
    sharded = [value for value in state["model"].values() if isinstance(value, DTensor)]
    assert bool(sharded) == (distributed.world_size() > 1)
    learner.restore(state)
    assert learner.num_steps == num_steps
    return learner.learn(8 - num_steps).whole()


def check_equal(found: dict[str, Tensor], expected: dict[str, Tensor], exactly: bool) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0 if exactly else 1e-5, atol=0 if exactly else 1e-6)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """Checkpoints that two processes wrote, and the weights some steps later."""
    folder = tmp_path_factory.mktemp("sharded")
    return folder / "run", together(2, save, folder / "out", folder / "run")[0]


def test_a_checkpoint_is_a_folder_that_each_process_wrote_a_part_of(saved: tuple[Path, dict[str, Tensor]]) -> None:
    folders = sorted(path.name for path in saved[0].iterdir())
    assert [name.split("-")[0] for name in folders] == ["00000004", "00000006"]
    files = {path.name.split("-")[0] for path in (saved[0] / folders[0]).iterdir()}
    assert files == {"__0_0.distcp", "__1_0.distcp", ".metadata", "checksums.json", "plain"}


@pytest.mark.parametrize("num_processes", [2, 1, 3])
def test_any_number_of_processes_goes_on(
    saved: tuple[Path, dict[str, Tensor]], tmp_path: Path, num_processes: int
) -> None:
    for found in together(num_processes, resume, tmp_path / "out", saved[0], 6):
        check_equal(found, saved[1], exactly=num_processes == 2)


def test_two_processes_go_on_where_one_was(tmp_path: Path) -> None:
    expected = together(1, save, tmp_path / "one", tmp_path / "run")[0]
    check_equal(together(2, resume, tmp_path / "two", tmp_path / "run", 6)[0], expected, exactly=False)


@pytest.mark.parametrize("damaged", ["__1_0.distcp", ".metadata", "plain-*.pt", "checksums.json"])
def test_damage_of_any_file_is_noticed(saved: tuple[Path, dict[str, Tensor]], tmp_path: Path, damaged: str) -> None:
    folder = tmp_path / max(saved[0].iterdir()).name
    shutil.copytree(max(saved[0].iterdir()), folder)
    assert sharded_files.is_undamaged(folder)
    path = next(folder.glob(damaged))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not sharded_files.is_undamaged(folder)
    path.unlink()
    assert not sharded_files.is_undamaged(folder)


def resume_after_damage(folder: Path) -> tuple[dict[str, Tensor], str]:
    with redirect_stderr(io.StringIO()) as told:
        return resume(folder, 4), told.getvalue()


def test_a_damaged_part_falls_back_to_the_folder_before(saved: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(saved[0], folder)
    newest = max(folder.iterdir())
    (newest / "__1_0.distcp").write_bytes((newest / "__1_0.distcp").read_bytes()[:-1])
    (first, told), (second, told_by_second) = together(2, resume_after_damage, tmp_path / "out", folder)
    check_equal(first, saved[1], exactly=True)
    check_equal(second, saved[1], exactly=True)
    assert f"{newest.name} is damaged" in told
    assert told_by_second == ""


def save_on_a_full_disk_of_the_second(folder: Path) -> tuple[bool, str]:
    store, learner = ShardedCheckpointStore(folder), Learner(0)
    store.save(learner.learn(1).state(), 1)
    before = sorted(folder.iterdir())
    if distributed.rank() == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    with redirect_stderr(io.StringIO()) as told:
        store.save(learner.learn(1).state(), 2)
    if distributed.rank() == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    distributed.wait_for_all()  # rank 0 has tidied up
    left = not store.wait() and sorted(folder.iterdir()) == before
    distributed.wait_for_all()
    store.save(learner.learn(1).state(), 3)
    return left and store.wait(), told.getvalue()


def test_a_full_disk_of_one_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (is_right, told), second = together(2, save_on_a_full_disk_of_the_second, tmp_path / "out", tmp_path / "run")
    assert is_right
    assert second == (True, "")
    assert "step 2 could not be written" in told
    assert "File too large" in told


def resume_another_model(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"holds .*model/0\.weight, which this training has not"):
        ShardedCheckpointStore(folder).latest({"model": {}})


def test_a_checkpoint_of_another_model_is_refused(saved: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    together(2, resume_another_model, tmp_path / "out", saved[0])


def save_best(folder: Path) -> None:
    store, learner = ShardedCheckpointStore(folder), Learner(0)
    weights = learner.learn(1).whole()
    if distributed.rank() == 0:
        store.save_best(weights, 4)
    store.save(learner.state(), 1)


def test_the_best_weights_lie_beside(tmp_path: Path) -> None:
    together(2, save_best, tmp_path / "out", tmp_path / "run")
    assert set(ShardedCheckpointStore(tmp_path / "run").best(4)) == set(Learner(0).model.state_dict())


def test_what_a_killed_training_left_is_overwritten(tmp_path: Path) -> None:
    leftover = tmp_path / ".00000001.partial"
    leftover.mkdir()
    (leftover / "__7_0.distcp").write_bytes(b"half")
    store, state = ShardedCheckpointStore(tmp_path), Learner(0).state()
    assert store.latest(state) is None
    store.save(state, 1)
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["00000001"]
    assert store.latest(state) is not None


@pytest.mark.parametrize("call", [(exec, ("raise SystemExit",)), (getattr, (torch.Size, "numel"))])
def test_an_index_cannot_run_code(tmp_path: Path, call: tuple[Any, ...]) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return call

    store, state = ShardedCheckpointStore(tmp_path), Learner(0).state()
    store.save(state, 1)
    folder = next(tmp_path.iterdir())
    (folder / ".metadata").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(pickle.UnpicklingError, match="has no place"):
        sharded_files.read_sharded(folder, {"state": state})


def test_checkpoints_of_the_other_kind_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "00000001-0123456789abcdef.pt").write_bytes(b"")
    assert ShardedCheckpointStore(tmp_path).latest({}) is None
    assert "parallel: ddp" in capsys.readouterr().err


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_run_decides_what_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str], parallel: Any) -> None:
    compute, state = ComputeParams(parallel=parallel, num_checkpoints=1), Learner(0).state()
    store = checkpoint_store(tmp_path / "pretrain-a", compute)
    for step in (1, 2):
        store.save(state, step, wait=True)
    assert len(list(store.folder.iterdir())) == 1
    assert next(store.folder.iterdir()).is_dir() == (parallel == "fsdp")
    store.folder.rename(tmp_path / "pretrain-b")
    assert checkpoint_store(tmp_path / "pretrain-b", compute).latest(state) is not None
    assert "run pretrain-a then, pretrain-b now" in capsys.readouterr().err
