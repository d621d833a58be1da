import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest

from hicmae.tracking import sender as sender_module
from hicmae.tracking.outbox import Entry, Outbox
from hicmae.tracking.sender import Refused, Sender, reason
from tests.tracking.test_outbox import metrics


class Store:
    """A store that fails as often as asked, and refuses one entry."""

    def __init__(self, num_failures: int = 0, refused: Entry | None = None) -> None:
        self.num_failures = num_failures
        self.refused = refused
        self.entries: list[Entry] = []

    def __call__(self, entries: Sequence[Entry]) -> None:
        if self.num_failures > 0:
            self.num_failures -= 1
            raise OSError(111, "Connection refused")
        if self.refused in entries:
            raise Refused("no such run")
        self.entries += entries


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "_LINGER_SECONDS", 0.05)
    monkeypatch.setattr(sender_module, "_MAX_PAUSE_SECONDS", 0.1)


def test_all_arrives_once_in_order_when_the_store_is_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, outbox = Store(num_failures=4), Outbox(tmp_path / "run", "s")
    sender = Sender(outbox, store, "http://there")
    entries = [metrics(step) for step in range(20)]
    for number, entry in enumerate(entries):
        outbox.append(entry)
        while store.num_failures > 4 - number // 4:  # some come after each of the failures
            time.sleep(0.01)
    sender.finish(patience_seconds=10)
    outbox.close()
    assert store.entries == entries
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "http://there cannot be reached (Connection refused)" in lines[0]
    assert str(outbox.queue) in lines[0]
    assert "is back" in lines[1]
    assert not (tmp_path / "run").exists()


def test_a_single_failure_is_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, outbox = Store(num_failures=1), Outbox(tmp_path / "run", "s")
    outbox.append(metrics(0))
    Sender(outbox, store, "s").finish(patience_seconds=10)
    assert store.entries == [metrics(0)]
    assert capsys.readouterr().err == ""


def test_what_is_refused_is_told_once_and_holds_nothing_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, outbox = Store(refused=metrics(1)), Outbox(tmp_path / "run", "s")
    for step in (0, 1, 1, 2):
        outbox.append(metrics(step))
    Sender(outbox, store, "s").finish(patience_seconds=10)
    assert store.entries == [metrics(0), metrics(2)]
    assert capsys.readouterr().err.count("no such run") == 1


def test_a_store_that_stays_away_is_given_up_in_time_and_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = Outbox(tmp_path / "run", "s")
    sender = Sender(outbox, Store(num_failures=10**9), "s")
    outbox.append(metrics(0))
    sender.finish(patience_seconds=0.5)  # or the test would never end
    outbox.close()
    assert "1 records of this run stay in" in capsys.readouterr().err
    assert Outbox(tmp_path / "run", "s").next_batch() == [metrics(0)]


def test_a_store_that_hangs_delays_nobody(tmp_path: Path) -> None:
    release, arrived = Event(), Event()

    def hang(entries: Sequence[Entry]) -> None:
        arrived.set()
        release.wait()

    outbox = Outbox(tmp_path / "run", "s")
    sender = Sender(outbox, hang, "s")
    outbox.append(metrics(0))
    assert arrived.wait(5)
    for step in range(1, 1000):
        outbox.append(metrics(step))
    sender.finish(patience_seconds=0.5)
    outbox.close()
    assert sender._thread.is_alive()
    release.set()
    sender._thread.join(5)
    assert len(Outbox(tmp_path / "run", "s")) == 1000


def test_the_reason_is_at_the_bottom_of_an_error() -> None:
    outer = RuntimeError("max retries")
    outer.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert reason(outer) == "Connection refused"
    assert reason(ValueError()) == "ValueError"


def test_a_refused_item_takes_no_other_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrived: list[str] = []

    def deliver(entries: Sequence[Entry]) -> None:
        names = [
            name for entry in entries for name in (*(p[0] for p in entry.get("points", ())), *entry.get("tags", ()))
        ]
        if any("(" in name for name in names):
            raise Refused("no such name")
        arrived.extend(names)

    outbox = Outbox(tmp_path / "run", "s")
    for step in (0, 1):
        points = [[name, step, 1.0, 7] for name in ("uar", "pcc (1-9)", "war", "ccc (1-9)", "loss")]
        outbox.append({"kind": "metrics", "points": points, "keep_first": False})
        outbox.append({"kind": "tags", "tags": {"a": "1", "b(": "2", "c": "3"}})
    Sender(outbox, deliver, "s").finish(patience_seconds=10)
    assert sorted(arrived) == sorted(2 * ["uar", "war", "loss", "a", "c"])
    assert len(outbox) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line.split(", and")[0] for line in told] == [
        "MLflow at s refuses metric 'pcc (1-9)'",
        "MLflow at s refuses metric 'ccc (1-9)'",
        "MLflow at s refuses tag 'b('",
    ]


def test_a_store_that_goes_away_amid_refusals_gets_all_later(tmp_path: Path) -> None:
    arrived: set[str] = set()
    num_calls = 0

    def deliver(entries: Sequence[Entry]) -> None:
        nonlocal num_calls
        num_calls += 1
        names = {point[0] for entry in entries for point in entry["points"]}
        if "bad" in names:
            raise Refused("no such name")
        if num_calls in (3, 4):
            raise OSError(111, "Connection refused")
        arrived.update(names)

    outbox = Outbox(tmp_path / "run", "s")
    points = [[name, 0, 1.0, 7] for name in ("a", "b", "bad", "c", "d")]
    outbox.append({"kind": "metrics", "points": points, "keep_first": False})
    Sender(outbox, deliver, "s").finish(patience_seconds=10)
    assert arrived == {"a", "b", "c", "d"}
    assert len(outbox) == 0


def test_a_run_that_is_gone_is_not_told_item_by_item(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def deliver(entries: Sequence[Entry]) -> None:
        raise Refused("no such run")

    outbox = Outbox(tmp_path / "run", "s")
    for index in range(20):
        outbox.append(metrics(0, name=f"m{index}"))
    Sender(outbox, deliver, "s").finish(patience_seconds=10)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5
    assert told[-1].endswith("further ones are not named")
