"""Files whose names no table can hold are said, and cost nothing else."""

import os
from pathlib import Path

import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.listing import Folder
from hicmae_core.preparation.building import build_manifest


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Clips in VoxCeleb2's layout: one of a plain name, one of another script, and three in a folder of Latin-1."""
    for video, num in ((b"good", 1), ("日本".encode(), 1), (b"vid\xe9o", 3)):
        folder = os.path.join(os.fsencode(tmp_path), b"dev", b"id00012", video)
        os.makedirs(folder)
        for number in range(num):
            Path(os.fsdecode(os.path.join(folder, b"%05d.mp4" % number))).write_bytes(b"x")
    return tmp_path


def test_names_that_no_table_can_hold_are_said(clips, tmp_path):
    said = []
    dataset = DatasetParams(corpus="voxceleb2", task="unlabelled", allow_incomplete=True)
    manifest = build_manifest("voices", dataset, clips, None, 1, 0.0, said.append)
    assert sorted(manifest["clip_id"]) == ["id00012/good/00000", "id00012/日本/00000"]
    assert (manifest["status"] == "ok").all()
    (line,) = [line for line in said if "UTF-8" in line]
    assert "passed over 3 files" in line
    assert "vid\\xe9o/00000.mp4" in line
    manifest.to_parquet(tmp_path / "manifest.parquet")


def test_a_command_takes_files_of_any_name(clips):
    assert len(Folder(clips, any_name=True).files) == 5
    assert len(Folder(clips).files) == 2
    assert all(folder.isprintable() for folder in Folder(clips).folders)
