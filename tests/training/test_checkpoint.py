import os
import random
import resource
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hicmae_core.config import ModelParams
from hicmae_core.files import fingerprint
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.randomness import random_state, restore_random_state


def state(value: float) -> dict[str, Any]:
    return {"weights": {"w": torch.full((100,), value)}, "history": [{"epoch": 0, "loss": value}]}


def store_with(folder: Path, *steps: int, num_kept: int = 2) -> CheckpointStore:
    store = CheckpointStore(folder, num_kept)
    for step in steps:
        store.save(state(float(step)), step, wait=True)
    return store


def value_of(restored: dict[str, Any] | None) -> float:
    assert restored is not None
    return restored["weights"]["w"][0].item()


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("num_kept", [1, 2, 3])
def test_the_newest_comes_back_and_some_are_kept(tmp_path: Path, num_kept: int) -> None:
    store = CheckpointStore(tmp_path / "run", num_kept)
    assert store.latest() is None
    assert store.wait()
    for step in range(4):
        store.save(state(float(step)), step)
    assert store.wait()
    restored = CheckpointStore(tmp_path / "run").latest()
    assert restored is not None
    assert torch.equal(restored["weights"]["w"], torch.full((100,), 3.0))
    assert restored["history"] == [{"epoch": 0, "loss": 3.0}]
    assert [name[:8] for name in checkpoints(tmp_path / "run")] == [f"{step:08d}" for step in range(4)][-num_kept:]
    store.clear()
    assert not (tmp_path / "run").exists()


def test_what_changes_while_it_is_written_is_not_in_it(tmp_path: Path) -> None:
    store, changing = CheckpointStore(tmp_path), state(1.0)
    store.save(changing, 1)
    changing["weights"]["w"].fill_(9)
    changing["history"][0]["loss"] = 9.0
    changing["history"].append({"epoch": 1, "loss": 9.0})
    store.wait()
    restored = store.latest()
    assert value_of(restored) == 1.0
    assert restored["history"] == [{"epoch": 0, "loss": 1.0}]  # type: ignore[index]


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    store, held = CheckpointStore(tmp_path), threading.Event()
    store._writer.submit(held.wait, 60)  # the one thread that writes has something else to do
    store.save(state(1.0), 1)
    assert list(tmp_path.glob("0*")) == []
    held.set()
    assert store.wait()
    assert value_of(store.latest()) == 1.0


@pytest.mark.parametrize("damage", ["truncated", "bit flip", "empty", "gone while looking"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    store = store_with(tmp_path, 1, 2)
    newest = max(tmp_path.glob("*.pt"))
    content = bytearray(newest.read_bytes())
    if damage == "bit flip":
        content[len(content) // 2] ^= 1
    if damage == "gone while looking":
        listed = store._checkpoints()
        newest.unlink()
        monkeypatch.setattr(store, "_checkpoints", lambda: listed)
    else:
        newest.write_bytes({"truncated": content[:-10], "bit flip": content, "empty": b""}[damage])
    assert value_of(store.latest()) == 1.0
    assert newest.name in capsys.readouterr().err


def test_a_damaged_checkpoint_never_takes_the_place_of_a_good_one(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1, 2, 9, num_kept=1)
    max(tmp_path.glob("*.pt")).write_bytes(b"")
    store.save(state(3.0), 3, wait=True)
    assert value_of(store.latest()) == 3.0
    assert len(checkpoints(tmp_path)) == 1


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1)
    (tmp_path / "nonfinite-step-7.pt").write_bytes(b"a batch")
    store.save(state(2.0), 2, wait=True)
    store.save(state(3.0), 3, wait=True)
    assert value_of(store.latest()) == 3.0
    assert (tmp_path / "nonfinite-step-7.pt").exists()


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path) -> None:
    leftover = tmp_path / ".00000001.123.part"
    leftover.write_bytes(b"half")
    store = CheckpointStore(tmp_path)
    assert store.latest() is None
    store.save(state(1.0), 1, wait=True)
    assert not leftover.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def check_full_disk(folder: Path, capsys: pytest.CaptureFixture[str], reason: str) -> None:
    """More than 1 MiB does not fit, less does."""
    store = store_with(folder, 1)
    before = checkpoints(folder)
    store.save(state(2.0) | {"large": torch.zeros(2**20)}, 2)
    assert not store.wait()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    for part in ("step 2", str(folder), reason, "free space", "goes on", "is kept"):
        assert part in told[0]
    assert checkpoints(folder) == before
    assert value_of(store.latest()) == 1.0
    store.save(state(3.0), 3)
    assert store.wait()
    assert value_of(store.latest()) == 3.0


def test_a_full_disk_is_told_and_the_checkpoint_before_is_kept(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_full_disk(small_disk / "run", capsys, "No space left on device")


def test_a_file_that_may_not_grow_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        check_full_disk(tmp_path, capsys, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_best_weights_that_do_not_fit_are_written_with_the_next_checkpoint(small_disk: Path) -> None:
    store, filler = store_with(small_disk / "run", 1), small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    store.save_best({"w": torch.zeros(100_000)}, 0)
    store.save(state(2.0), 2, wait=True)
    assert not store.wait()
    assert value_of(store.latest()) == 1.0
    filler.unlink()
    store.save(state(3.0), 3, wait=True)
    assert torch.equal(CheckpointStore(small_disk / "run").best(0)["w"], torch.zeros(100_000))


def test_something_that_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not PosixPath"):
        CheckpointStore(tmp_path).save(state(1.0) | {"path": tmp_path}, 1)


def test_numpys_numbers_and_parts_of_tensors_come_back(tmp_path: Path) -> None:
    whole = torch.arange(1_000_000.0)
    saved = {"uar": np.float64(0.5), "count": np.int64(3), "part": whole[10:20:2], 7: (None, True, "x")}
    store = CheckpointStore(tmp_path)
    store.save(saved, 1, wait=True)
    restored = store.latest()
    assert restored is not None
    assert (restored["uar"], restored["count"], restored[7]) == (0.5, 3, (None, True, "x"))  # type: ignore[index]
    assert type(restored["uar"]) is float
    assert restored["part"].tolist() == [10.0, 12.0, 14.0, 16.0, 18.0]
    assert next(tmp_path.iterdir()).stat().st_size < 10_000


def test_a_mistake_in_the_writing_thread_surfaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    store = CheckpointStore(tmp_path)
    monkeypatch.setattr(store, "_prune", broken)
    store.save(state(1.0), 1)
    with pytest.raises(RuntimeError, match="broken"):
        store.save(state(2.0), 2)


def test_a_checkpoint_made_with_other_versions_is_reported_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    CheckpointStore(tmp_path / "a").save(state(1.0), 1, wait=True)
    assert value_of(CheckpointStore(tmp_path / "a").latest()) == 1.0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(torch, "__version__", "99.0")
    (tmp_path / "a").rename(tmp_path / "b")
    assert value_of(CheckpointStore(tmp_path / "b").latest()) == 1.0
    logged = capsys.readouterr().err
    assert "99.0 now" in logged
    assert "run a then, b now" in logged
    assert "numpy" not in logged


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((10,), value)}


def test_the_best_weights_outlive_every_checkpoint_that_relies_on_them(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    with pytest.raises(ValueError, match="no best weights of epoch 0"):
        store.best(0)
    for step, (epoch, is_best) in enumerate([(0, True), (1, False), (2, True), (3, True), (4, False)]):
        if is_best:
            store.save_best(weights(float(epoch)), epoch)
            assert store.best(epoch)["w"][0] == epoch
        store.save(state(float(step)), step, wait=True)
        files = [name.split("-")[1] for name in checkpoints(tmp_path) if name.startswith("best")]
        expected = {0: ["0000"], 1: ["0000"], 2: ["0000", "0002"], 3: ["0002", "0003"], 4: ["0003"]}
        assert files == expected[step]
    store.save_best(weights(5.0), 5)
    again = CheckpointStore(tmp_path)  # killed before the next checkpoint
    assert value_of(again.latest()) == 4.0
    assert torch.equal(again.best(3)["w"], weights(3.0)["w"])
    again.save_best(weights(5.5), 5)
    again.save(state(6.0), 6, wait=True)
    assert again.best(5)["w"][0] == 5.5
    assert CheckpointStore(tmp_path).best(3)["w"][0] == 3.0


def test_damaged_best_weights_are_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save_best(weights(1.0), 7)
    store.save(state(1.0), 1, wait=True)
    path = next(tmp_path.glob("best-*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{path.name} is damaged: delete .* and train again"):
        CheckpointStore(tmp_path).best(7)


def draws() -> list[Any]:
    return [torch.rand(3).tolist(), np.random.normal(), random.random()]  # noqa: NPY002


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    draws()
    np.random.normal()  # noqa: NPY002  # leaves the second of a pair for the next draw
    store = CheckpointStore(tmp_path)
    store.save({"random": random_state()}, 1, wait=True)
    expected = [draws(), draws()]
    restored = store.latest()
    assert restored is not None
    restore_random_state(restored["random"])
    assert [draws(), draws()] == expected


@pytest.mark.gpu
def test_a_state_on_a_gpu_comes_back_on_the_cpu(tmp_path: Path) -> None:
    changing = {"w": torch.full((1000, 1000), 3.0, device="cuda"), "random": random_state()}
    expected = torch.rand(5, device="cuda")
    store = CheckpointStore(tmp_path)
    store.save(changing, 1)
    changing["w"].fill_(9)
    assert store.wait()
    restored = store.latest()
    assert restored is not None
    assert torch.equal(restored["w"], torch.full((1000, 1000), 3.0))
    restore_random_state(restored["random"])
    assert torch.equal(torch.rand(5, device="cuda"), expected)


def test_fingerprint_follows_parameters_order_and_file_contents(tmp_path: Path) -> None:
    data, code = tmp_path / "data.bin", tmp_path / "code"
    data.write_bytes(b"1")
    code.mkdir()
    (code / "a.py").write_text("x = 1")
    base = fingerprint(ModelParams(size="demo"), 3, data, code, ["a", data])
    assert base == fingerprint(ModelParams(size="demo"), 3, data, code, ["a", data])
    others = {
        fingerprint(ModelParams(size="tiny"), 3, data, code, ["a", data]),
        fingerprint(ModelParams(size="demo"), 4, data, code, ["a", data]),
    }
    data.write_bytes(b"2")
    others.add(fingerprint(ModelParams(size="demo"), 3, data, code, ["a", data]))
    data.write_bytes(b"1")
    (code / "a.py").write_text("x = 2")
    others.add(fingerprint(ModelParams(size="demo"), 3, data, code, ["a", data]))
    assert base not in others
    assert len(others) == 4
