import logging
from pathlib import Path

import pytest
import torch

from hicmae_core.config import ModelParams
from hicmae_core.files import fingerprint
from hicmae_core.training.checkpoint import CheckpointStore


def state(value: float) -> dict[str, object]:
    return {"weights": {"w": torch.full((100,), value)}, "history": [{"epoch": 0, "loss": value}]}


def test_the_newest_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "run")
    assert store.latest() is None
    for step in range(4):
        store.save(state(float(step)), step)
    restored = CheckpointStore(tmp_path / "run").latest()
    assert restored is not None
    assert torch.equal(restored["weights"]["w"], torch.full((100,), 3.0))
    assert restored["history"] == [{"epoch": 0, "loss": 3.0}]
    assert len(list((tmp_path / "run").iterdir())) == 2
    store.clear()
    assert store.latest() is None


@pytest.mark.parametrize("damage", ["truncated", "bit flip", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(state(1.0), 1)
    store.save(state(2.0), 2)
    newest = max(tmp_path.glob("*.pt"))
    content = bytearray(newest.read_bytes())
    if damage == "bit flip":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"truncated": content[:-10], "bit flip": content, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        restored = store.latest()
    assert restored is not None
    assert restored["weights"]["w"][0] == 1.0
    assert newest.name in caplog.text


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path) -> None:
    leftover = tmp_path / ".00000001-abc.pt.123.part"
    leftover.write_bytes(b"half")
    store = CheckpointStore(tmp_path)
    assert store.latest() is None
    store.save(state(1.0), 1)
    assert not leftover.exists()


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
