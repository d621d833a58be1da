"""The journal of a shard under way: what was appended is there again, whatever happened to the file's end."""

import pytest

from hicmae_core.preparation.journal import Journal
from hicmae_core.preparation.writing import batch_of
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA

ENTRIES = [(f"clip{number}", f"key{number}") for number in range(3)]


def content(clip_id: str, key: str) -> bytes:
    row = {"clip_id": clip_id, "key": key, "frames": [clip_id.encode() * 20]}
    return batch_of([row], FACES_SCHEMA).serialize().to_pybytes()


@pytest.fixture
def path(tmp_path):
    with Journal(tmp_path / "folder" / "journal", FACES_SCHEMA) as journal:
        for entry in ENTRIES:
            journal.append(content(*entry))
    return tmp_path / "folder" / "journal"


def whole_entries(path) -> list[tuple[str, str]]:
    """What a journal opened now holds; each is read, and one more can be added."""
    with Journal(path, FACES_SCHEMA) as journal:
        found = [entry for entry in ENTRIES if entry in journal]
        for entry in found:
            assert journal.batch(entry)["frames"][0].as_py() == [entry[0].encode() * 20]
        journal.append(content("new", "key"))
    with Journal(path, FACES_SCHEMA) as journal:
        assert journal.batch(("new", "key"))["clip_id"][0].as_py() == "new"
    return found


def test_torn_anywhere_it_holds_the_entries_before(path):
    written = path.read_bytes()
    numbers = []
    for length in range(0, len(written) + 1, 19):
        path.write_bytes(written[:length])
        found = whole_entries(path)
        assert found == ENTRIES[: len(found)]
        numbers.append(len(found))
    path.write_bytes(written)
    assert whole_entries(path) == ENTRIES
    assert numbers == sorted(numbers)
    assert set(numbers) >= {0, 1, 2}


def test_a_flipped_bit_drops_the_entry_and_all_behind_it(path):
    written = bytearray(path.read_bytes())
    place = written.index(b"clip1" * 20)
    written[place] ^= 1
    path.write_bytes(written)
    assert whole_entries(path) == ENTRIES[:1]


def test_one_of_another_schema_is_started_afresh(path):
    with Journal(path, AUDIO_SCHEMA) as journal:
        assert ENTRIES[0] not in journal
    assert whole_entries(path) == []


def test_its_space_is_freed_when_all_is_in_shards(path):
    with Journal(path, FACES_SCHEMA) as journal:
        size = path.stat().st_size
        journal.forget(ENTRIES[:2])
        assert path.stat().st_size == size
        assert ENTRIES[2] in journal
        journal.forget(ENTRIES[2:])
        assert path.stat().st_size < 100
    assert whole_entries(path) == []


def test_entries_that_nobody_wants_do_not_hold_the_space(path):
    with Journal(path, FACES_SCHEMA) as journal:
        journal.retain([("clip1", "key1"), ("clip2", "another key")])
        assert [entry in journal for entry in ENTRIES] == [False, True, False]
        journal.forget(ENTRIES)
        assert path.stat().st_size < 100


def test_two_at_a_time_are_refused(path):
    with Journal(path, FACES_SCHEMA), pytest.raises(ValueError, match="another process"):
        Journal(path, FACES_SCHEMA)
    assert whole_entries(path) == ENTRIES
