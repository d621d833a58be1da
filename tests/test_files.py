"""Files appear whole or not at all."""

import errno
import json
import os

import pytest

from hicmae_core.files import atomic_path, sha256_of, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fill_the_disk():
        with atomic_path(target) as temporary:
            temporary.write_text("half of the new")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))

    with pytest.raises(OSError, match="No space left"):
        fill_the_disk()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_json_round_trip_and_digest(tmp_path):
    write_json(tmp_path / "deep" / "values.json", {"uar": 0.5})
    assert json.loads((tmp_path / "deep" / "values.json").read_text()) == {"uar": 0.5}
    assert len(sha256_of(tmp_path / "deep" / "values.json")) == 64


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "values.json", {"uar": float("nan")})
    assert not (tmp_path / "values.json").exists()
