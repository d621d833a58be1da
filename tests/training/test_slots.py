"""Places on GPUs that are taken and freed by real processes; the GPUs themselves need not exist."""

import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from hicmae_core.config import Params, parse_params
from hicmae_core.runtime import acquire_gpu_slot, place
from tests.forking import FORKS

GPUS = {"uuid-a": "cuda:0", "uuid-b": "cuda:1"}
PARAMS = {"folds": {}, "dataset": {"voxceleb2": {"corpus": "csv", "task": "unlabelled"}}}


def hold(folder: Path, places_per_gpu: int, gpus: dict[str, str], connection: Connection) -> None:
    """Tell which GPU has been got, and keep its place until told to go."""
    with place(gpus, places_per_gpu, folder) as name:
        connection.send(name)
        connection.recv()


class Holders:
    """Processes that want a place each."""

    def __init__(self, folder: Path, places_per_gpu: int) -> None:
        self._arguments = folder, places_per_gpu
        self.processes: list[BaseProcess] = []
        self.connections: list[Connection] = []

    def start(self, gpus: dict[str, str] = GPUS) -> Connection:
        ours, theirs = FORKS.Pipe()
        process = FORKS.Process(target=hold, args=(*self._arguments, gpus, theirs))
        process.start()
        self.processes.append(process)
        self.connections.append(ours)
        return ours


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Holders]:
    started = Holders(tmp_path / "places", places_per_gpu=2)
    yield started
    for process in started.processes:
        process.kill()
        process.join()


def got(connection: Connection) -> str:
    assert connection.poll(60), "no place within a minute"
    return str(connection.recv())


def test_trainings_spread_over_gpus_and_the_next_one_waits(holders: Holders) -> None:
    names = [got(holders.start()) for _ in range(4)]
    assert names == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    fifth = holders.start()
    assert not fifth.poll(3)
    holders.connections[1].send("go")
    assert got(fifth) == "cuda:1"


def test_a_killed_holder_s_place_is_free(holders: Holders) -> None:
    only_b = {"uuid-b": "cuda:0"}  # as with CUDA_VISIBLE_DEVICES=1
    assert [got(holders.start(only_b)) for _ in range(2)] == ["cuda:0", "cuda:0"]
    assert got(holders.start()) == "cuda:0", "the emptiest, which is not the one that the others call cuda:0"
    third = holders.start(only_b)
    assert not third.poll(3)
    holders.processes[0].kill()
    assert got(third) == "cuda:0"


def test_waiting_is_told_once(tmp_path: Path, holders: Holders, capsys: pytest.CaptureFixture[str]) -> None:
    only_a = {"uuid-a": "cuda:0"}
    for _ in range(2):
        got(holders.start(only_a))
    assert capsys.readouterr().err == ""
    threading.Timer(2.5, holders.connections[0].send, ["go"]).start()
    with place(only_a, 2, tmp_path / "places") as name:
        assert name == "cuda:0"
    assert capsys.readouterr().err == "waiting for a GPU: all 2 places are taken\n"


@pytest.fixture
def params() -> Params:
    return parse_params(PARAMS, "test")


def on(params: Params, device: str) -> Params:
    return params.model_copy(update={"compute": params.compute.model_copy(update={"device": device})})


def test_on_a_cpu_nobody_waits(params: Params) -> None:
    with acquire_gpu_slot(on(params, "cpu")) as first, acquire_gpu_slot(on(params, "cpu")) as second:
        assert first.compute.device == second.compute.device == "cpu"


@pytest.mark.gpu
def test_a_gpu_is_named_by_its_index(params: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with acquire_gpu_slot(on(params, "auto")) as chosen:
        assert chosen.compute.device == "cuda:0"
        uuid = torch.cuda.get_device_properties(0).uuid
        assert [path.name for path in tmp_path.glob(f"*/{uuid}-*")] == [f"{uuid}-0.lock"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with acquire_gpu_slot(on(params, "cuda")) as same:
        assert same.compute.device == "cuda"
