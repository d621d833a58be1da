"""The journal of a shard under way: what was appended is there again, whatever happened to the file's end."""

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hicmae_core.preparation.journal import Journal
from hicmae_core.preparation.writing import batch_of
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA

ENTRIES = [(f"clip{number}", f"key{number}") for number in range(3)]


def content(clip_id: str, key: str) -> bytes:
    row = {"clip_id": clip_id, "key": key, "frames": [clip_id.encode() * 20]}
    return batch_of([row], FACES_SCHEMA).serialize().to_pybytes()


def opened(path: Path, schema=FACES_SCHEMA) -> closing[Journal]:
    return closing(Journal(path, schema))


@pytest.fixture
def path(tmp_path):
    with opened(tmp_path / "folder" / "journal") as journal:
        for entry in ENTRIES:
            journal.append(content(*entry))
    return tmp_path / "folder" / "journal"


def whole_entries(path) -> list[tuple[str, str]]:
    """What a journal opened now holds; each is read, and one more can be added."""
    with opened(path) as journal:
        found = [entry for entry in ENTRIES if entry in journal]
        for entry in found:
            assert journal.batch(entry)["frames"][0].as_py() == [entry[0].encode() * 20]
        journal.append(content("new", "key"))
    with opened(path) as journal:
        assert journal.batch(("new", "key"))["clip_id"][0].as_py() == "new"
    return found


def test_torn_anywhere_it_holds_the_entries_before(tmp_path):
    """As after a power cut: the end of what a process that never closed the journal has written is not there."""
    with opened(tmp_path / "open") as journal:
        for entry in ENTRIES:
            journal.append(content(*entry))
        main, written = (tmp_path / "open").read_bytes(), (tmp_path / "open-wal").read_bytes()
    numbers = []
    for length in [*range(0, len(written), 397), len(written)]:
        (tmp_path / "torn").write_bytes(main)
        (tmp_path / "torn-wal").write_bytes(written[:length])
        found = whole_entries(tmp_path / "torn")
        assert found == ENTRIES[: len(found)]
        numbers.append(len(found))
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1, 2, 3}


def test_a_damaged_file_gives_no_wrong_clip_and_ends_no_run(path):
    written = path.read_bytes()
    draw = random.Random(0)
    for length in range(0, len(written), 997):
        path.write_bytes(written[:length])
        whole_entries(path)
    for _ in range(300):
        damaged = bytearray(written)
        for place in draw.sample(range(len(damaged)), 20):
            damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        whole_entries(path)
    path.write_bytes(b"clips" + bytes(1000))  # the format of an earlier version
    assert whole_entries(path) == []


def test_a_flipped_bit_drops_the_entry_alone(path):
    written = bytearray(path.read_bytes())
    written[written.index(b"clip1" * 20)] ^= 1
    path.write_bytes(written)
    assert whole_entries(path) == [ENTRIES[0], ENTRIES[2]]


APPEND_FOREVER = """
import itertools, sys
from pathlib import Path
from hicmae_core.preparation.journal import Journal
from hicmae_core.store.shards import FACES_SCHEMA
from tests.preparation.test_journal import content

journal = Journal(Path(sys.argv[1]), FACES_SCHEMA)
for number in itertools.count(int(sys.argv[2])):
    journal.append(content(f"clip{number}", "key"))
    print(number, flush=True)
"""


def test_killed_at_random_moments_it_holds_all_that_was_appended(tmp_path):
    draw, num_appended = random.Random(0), 0
    for _ in range(4):
        command = [sys.executable, "-c", APPEND_FOREVER, tmp_path / "journal", str(num_appended)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            lines = [process.stdout.readline() for _ in range(draw.randrange(1, 500))]
            process.kill()
            lines += [line for line in process.stdout if line.endswith("\n")]
        assert process.returncode == -signal.SIGKILL
        num_appended = int(lines[-1]) + 1
        with opened(tmp_path / "journal") as journal:
            assert all((f"clip{number}", "key") in journal for number in range(num_appended))
            assert journal.batch((f"clip{num_appended - 1}", "key"))["key"][0].as_py() == "key"


def test_one_of_another_schema_is_started_afresh(path):
    with opened(path, AUDIO_SCHEMA) as journal:
        assert ENTRIES[0] not in journal
    assert whole_entries(path) == []


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def test_its_space_is_freed_when_all_is_in_shards(path):
    with opened(path) as journal:
        journal.append(content("large" * 10_000, "key"))
        journal.forget(ENTRIES)
        assert ("large" * 10_000, "key") in journal
        assert size_of(path) > 1_000_000
        journal.forget([("large" * 10_000, "key")])
        assert size_of(path) < 50_000
    assert whole_entries(path) == []


def test_entries_that_nobody_wants_do_not_hold_the_space(path):
    with opened(path) as journal:
        journal.retain([("clip1", "key1"), ("clip2", "another key")])
        assert [entry in journal for entry in ENTRIES] == [False, True, False]
        journal.append(content("large" * 10_000, "key"))
        journal.retain([("clip1", "another key")])
        assert size_of(path) < 50_000


def test_two_at_a_time_are_refused(path):
    with opened(path), pytest.raises(ValueError, match="another process"):
        Journal(path, FACES_SCHEMA)
    assert whole_entries(path) == ENTRIES
