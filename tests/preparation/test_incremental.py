"""Preparation again and again: only what changed is computed, and the shards are those of a fresh run, to the byte."""

import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import PreparationParams
from hicmae_core.files import sha256_of
from hicmae_core.preparation import rows
from hicmae_core.preparation.pool import ClipFailure
from hicmae_core.preparation.preparing import prepare_audio
from hicmae_core.store.shards import ClipStore, shard_name, shard_of
from tests.media.films import tone, write_film

NUM_SHARDS = 4
NAMES = [f"clip{number}" for number in range(9)]


class Project:
    """Sound files, their manifest, and the stage's folders."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.out, self.cache = folder / "raw", folder / "out", folder / "cache"
        self.raw.mkdir()
        for number, name in enumerate(NAMES):
            self.record(name, 200 + 30 * number)
        (self.raw / "clip4.wav").write_bytes(b"")  # a rejected one

    def record(self, name: str, hertz: float) -> None:
        write_film(self.raw / f"{name}.mp4", [], tone(0.2, hertz=hertz)).rename(self.raw / f"{name}.wav")

    def manifest(self, with_digests: bool = False) -> pd.DataFrame:
        names = sorted(path.stem for path in self.raw.iterdir())
        frame = pd.DataFrame({"clip_id": names, "video_path": [f"{name}.wav" for name in names]})
        frame["audio_path"] = frame["video_path"]
        digests = [sha256_of(self.raw / path) if with_digests else None for path in frame["audio_path"]]
        return frame.assign(sha256=digests, audio_sha256=digests, status="ok")

    def prepare(self, failing: str = "", num_shards: int = NUM_SHARDS, **changes) -> list[str]:
        """Run the stage in this process; the clips that were computed. The clip `failing` crashes its worker."""
        computed = []

        def run(work, clips):
            for clip in clips:
                computed.append(clip.clip_id)
                yield ClipFailure("crashed", "it died") if clip.clip_id == failing else work(clip)

        manifest = changes.pop("manifest", None)
        preparation = PreparationParams(num_shards=num_shards, max_reject_fraction=0.5, **changes)
        self.summary = prepare_audio(
            self.manifest() if manifest is None else manifest, self.raw, self.out, self.cache, preparation, run=run
        )
        assert self.summary["num_prepared"] == len(computed)
        assert self.summary["num_reused"] == self.summary["num_clips"] - len(computed)
        return sorted(computed)

    def shards(self) -> dict[str, tuple[int, int, bytes]]:
        """Inode, time of change and content of each shard."""
        paths = sorted(self.out.glob("shard-*"))
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

    def check_as_fresh(self, tmp_path: Path, **changes) -> None:
        """What a run that starts from nothing gives is the same, to the byte."""
        out, cache, before = self.out, self.cache, contents(self.out)
        self.out, self.cache = tmp_path / "fresh_out", tmp_path / "fresh_cache"
        self.prepare(**changes)
        assert contents(self.out) == before
        shutil.rmtree(self.out), shutil.rmtree(self.cache)
        self.out, self.cache = out, cache


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(before: dict, after: dict) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.fixture
def project(tmp_path) -> Project:
    project = Project(tmp_path)
    assert project.prepare() == NAMES
    assert project.summary["num_rejected"] == 1
    return project


def test_nothing_new_computes_and_rewrites_nothing(project):
    before = project.shards()
    assert len(before) == NUM_SHARDS
    assert project.prepare() == []
    assert project.shards() == before


def test_an_output_that_was_deleted_comes_back_for_free(project):
    before = project.shards()
    shutil.rmtree(project.out)
    assert project.prepare() == []
    assert project.shards() == before


def test_a_new_clip_costs_itself_and_rewrites_one_shard(project, tmp_path):
    before = project.shards()
    project.record("another", 700)
    assert project.prepare() == ["another"]
    assert changed(before, project.shards()) == {shard_name(shard_of("another", NUM_SHARDS), NUM_SHARDS)}
    assert "another" in ClipStore(project.out)
    project.check_as_fresh(tmp_path)


@pytest.mark.parametrize("with_digests", [True, False])
def test_a_changed_clip_costs_itself_and_rewrites_one_shard(project, with_digests, tmp_path):
    project.prepare(manifest=project.manifest(with_digests))
    before = project.shards()
    project.record("clip2", 1234)
    manifest = project.manifest(with_digests)
    assert project.prepare(manifest=manifest) == ["clip2"]
    assert changed(before, project.shards()) == {shard_name(shard_of("clip2", NUM_SHARDS), NUM_SHARDS)}
    project.check_as_fresh(tmp_path, manifest=manifest)


def test_a_touched_file_of_known_digest_costs_nothing(project):
    project.prepare(manifest=project.manifest(with_digests=True))
    os.utime(project.raw / "clip2.wav")
    assert project.prepare(manifest=project.manifest(with_digests=True)) == []


def test_a_deleted_clip_disappears(project, tmp_path):
    before = project.shards()
    (project.raw / "clip3.wav").unlink()
    assert project.prepare() == []
    assert changed(before, project.shards()) == {shard_name(shard_of("clip3", NUM_SHARDS), NUM_SHARDS)}
    assert "clip3" not in ClipStore(project.out).index["clip_id"].tolist()
    project.check_as_fresh(tmp_path)


@pytest.mark.parametrize("num_shards", [1, 3, 7])
def test_another_number_of_shards_computes_nothing(project, num_shards, tmp_path):
    assert project.prepare(num_shards=num_shards) == []
    assert len(project.shards()) == num_shards
    assert len(list(project.cache.glob("*.feather"))) == num_shards
    project.check_as_fresh(tmp_path, num_shards=num_shards)


def test_other_settings_or_libraries_compute_all_again(project, monkeypatch):
    assert project.prepare(max_clip_seconds=100) == NAMES
    monkeypatch.setattr(rows, "_VERSIONS", ["another version"])
    assert project.prepare(max_clip_seconds=100) == NAMES


def test_settings_of_the_bookkeeping_compute_nothing(project):
    assert project.prepare(clip_timeout_seconds=77) == []


def test_a_clip_on_which_a_worker_died_is_tried_again_by_the_next_run(project, tmp_path):
    project.record("risky", 300)
    assert project.prepare(failing="risky") == ["risky"]
    row = ClipStore(project.out).index.set_index("clip_id").loc["risky"]
    assert row[["status", "reason", "num_samples"]].tolist() == ["crashed", "it died", 0]
    rejects = pd.read_csv(project.out / "rejects.csv").set_index("clip_id")
    assert rejects.loc["risky", "reason"] == f"{project.raw}/risky.wav: it died"
    assert project.prepare() == ["risky"]
    assert "risky" in ClipStore(project.out)
    assert project.summary["num_rejected"] == 1
    project.check_as_fresh(tmp_path)


def test_shards_of_another_format_or_damaged_are_made_again(project):
    before = contents(project.out)
    damaged = project.cache / shard_name(1, NUM_SHARDS)
    damaged.unlink()
    damaged.write_bytes(b"no Arrow file")
    assert project.prepare() == [name for name in NAMES if shard_of(name, NUM_SHARDS) == 1]
    assert contents(project.out) == before


def test_too_many_rejects_keep_what_was_done(project):
    project.record("another", 700)
    for name in NAMES[:6]:
        (project.raw / f"{name}.wav").write_bytes(b"")
    with pytest.raises(ValueError, match="6 of 10 clips were rejected"):
        project.prepare()
    for number, name in enumerate(NAMES[:3]):
        project.record(name, 900 + number)
    assert set(project.prepare()) <= {*NAMES[:6], "another"}
    assert project.summary["num_reused"] > 3


def test_a_full_disk_leaves_the_store_and_the_next_run_goes_on(project):
    before = contents(project.out)
    for number in range(4):
        project.record(f"more{number}", 700 + number)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, hard))  # two clips' worth
    try:
        with pytest.raises(OSError, match=r"(?i)too large|writing|disk") as error:
            project.prepare()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(project.cache) in str(error.value)
    after = contents(project.out)
    assert {**after, "rejects.csv": b""} == {**before, "rejects.csv": b""}
    assert 0 < len(project.prepare()) <= 4
    assert len(ClipStore(project.out)) == 12


def test_without_hard_links_files_are_copied(project, monkeypatch):
    before = contents(project.out)
    shutil.rmtree(project.out)

    def no_links(source, target):
        raise OSError("no links on this file system")

    monkeypatch.setattr(os, "link", no_links)
    assert project.prepare() == []
    assert contents(project.out) == before


def test_a_second_run_at_the_same_time_is_refused(project):
    def run(work, clips):
        with pytest.raises(ValueError, match="another process is preparing these clips"):
            project.prepare()
        return map(work, clips)

    project.record("another", 700)
    settings = PreparationParams(num_shards=NUM_SHARDS, max_reject_fraction=0.5)
    prepare_audio(project.manifest(), project.raw, project.out, project.cache, settings, run=run)
    assert "another" in ClipStore(project.out)


def test_two_clips_of_one_id_are_refused(project):
    manifest = pd.concat([project.manifest(), project.manifest()[:1]])
    with pytest.raises(ValueError, match=r"clip0.*twice"):
        project.prepare(manifest=manifest)


def test_the_digest_is_that_of_the_16_bit_waveform(project):
    index = ClipStore(project.out).index.set_index("clip_id")
    assert index["digest"].drop("clip4").is_unique
    assert index.loc["clip4", "digest"] == ""
    assert np.all(index["digest"].drop("clip4").str.len() == 64)
