import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import Timeout

from hicmae.tracking.outbox import MAX_POINTS, Entry, Outbox, waiting_folders
from tests.tracking.tracked import ROOT


def metrics(*steps: int, name: str = "loss") -> Entry:
    return {"kind": "metrics", "points": [[name, step, 1 / (step + 1), 7] for step in steps], "keep_first": False}


@contextmanager
def full_disk(path: Path, room: int = 0) -> Iterator[None]:
    """No file of this process may grow beyond the present size of `path` and `room` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_killed_process_appended_is_there_in_order(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from hicmae.tracking.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]) / "run", "sqlite:///x.db")
for step in range(50):
    outbox.append({"kind": "metrics", "points": [["loss", step, 0.1, 7]], "keep_first": False})
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL
    assert waiting_folders(tmp_path) == [(tmp_path / "run", "sqlite:///x.db")]
    outbox = Outbox(tmp_path / "run", "sqlite:///x.db")
    assert [entry["points"][0][1] for entry in outbox.next_batch()] == list(range(50))
    outbox.drop(50)
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_dropped_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "run", "s")
    outbox.append(metrics(0))
    outbox.close()
    with open(tmp_path / "run" / "queue.jsonl", "ab") as queue:
        queue.write(b'{"kind": "metrics", "poi')
    for step in (1, 2):
        outbox = Outbox(tmp_path / "run", "s")
        outbox.append(metrics(step))
        outbox.close()
    assert Outbox(tmp_path / "run", "s").next_batch() == [metrics(0), metrics(1), metrics(2)]


def test_batches_hold_metrics_up_to_the_limit_or_one_of_another_kind(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "run", "s")
    end = {"kind": "end", "how": {}}
    half = metrics(*range(MAX_POINTS // 2))
    for entry in (half, half, metrics(1), end, end, metrics(2)):
        outbox.append(entry)
    batches = []
    while batch := outbox.next_batch():
        batches.append(batch)
        outbox.drop(len(batch))
    assert batches == [[half, half], [metrics(1)], [end], [end], [metrics(2)]]


def test_what_has_partly_arrived_is_all_there_for_the_next_process(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "run", "s")
    for step in range(3):
        outbox.append(metrics(step))
    outbox.drop(2)
    assert len(outbox) == 1
    outbox.close()
    assert len(Outbox(tmp_path / "run", "s")) == 3


def test_on_a_full_disk_entries_wait_in_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outbox = Outbox(tmp_path / "run", "s")
    outbox.append(metrics(0))
    with full_disk(outbox.queue, room=20):
        outbox.append(metrics(1))
        outbox.append(metrics(2))
    outbox.append(metrics(3))
    assert outbox.next_batch() == [metrics(step) for step in range(4)]
    assert capsys.readouterr().err.count("cannot be written") == 1
    outbox.close()
    assert Outbox(tmp_path / "run", "s").next_batch() == [metrics(0), metrics(3)]


def test_a_file_is_kept_as_it_was(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "run", "s")
    model = tmp_path / "model.safetensors"
    kept = []
    for content in (b"first", b"second"):
        new = tmp_path / "new"
        new.write_bytes(content)
        os.replace(new, model)
        kept.append(outbox.folder / outbox.keep_file(model))
    model.unlink()
    assert [path.read_bytes() for path in kept] == [b"first", b"second"]
    assert {path.name for path in kept} == {"model.safetensors"}
    assert outbox.num_megabytes() == pytest.approx(11e-6)


def test_only_one_process_holds_an_outbox_until_it_dies(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from hicmae.tracking.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), "s")
outbox.append({"kind": "end", "how": {}})
print("held", flush=True)
time.sleep(60)
"""
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", script, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Timeout):
            Outbox(folder, "s")
    finally:
        holder.kill()
        holder.wait()
    assert len(Outbox(folder, "s", patience_seconds=5)) == 1
