"""Preparation on a Dask cluster: a real one of two workers on this machine."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest

from hicmae_core.config import ComputeParams, FacesParams, PreparationParams
from hicmae_core.preparation import engines
from hicmae_core.preparation.engines import runner_for
from hicmae_core.preparation.pool import ClipFailure, ClipFiles, RunClips
from hicmae_core.preparation.preparing import prepare_faces
from tests.media.films import background, talking_head, tone, write_film
from tests.preparation.toy_clips import toy_work

DASK = ComputeParams(engine="dask", num_processes=2)
LOCAL = ComputeParams(num_processes=2)
PREPARATION = PreparationParams(num_shards=2, clip_timeout_seconds=20, max_reject_fraction=0.5)


def clips(*ids: str) -> list[ClipFiles]:
    return [ClipFiles(clip_id, Path(f"{clip_id}.mp4"), Path(f"{clip_id}.wav"), "key") for clip_id in ids]


def run(given: list[ClipFiles], compute: ComputeParams, journal: Path) -> Iterator[bytes | ClipFailure]:
    return runner_for(compute, PREPARATION)(partial(toy_work, journal=journal), given)


def children() -> dict[int, str]:
    """The processes below this one, but the one that Python keeps for itself."""
    below = psutil.Process().children(recursive=True)
    commands = {child.pid: " ".join(child.cmdline()) for child in below if child.status() != "zombie"}
    return {pid: command for pid, command in commands.items() if "resource_tracker" not in command}


def dask_workers() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def killing_a_worker(runner: RunClips, after: int) -> RunClips:
    """`runner`, of whose workers one is killed when so many clips are done."""

    def run(work, clips):
        for number, result in enumerate(runner(work, clips)):
            if number == after:
                assert len(dask_workers()) == 2
                os.kill(dask_workers()[0], signal.SIGKILL)
            yield result

    return run


def test_a_worker_that_is_killed_costs_no_clip_and_doubles_none(tmp_path: Path) -> None:
    given = clips(*(f"clip {number}" for number in range(120)))
    before = children()
    work = partial(toy_work, journal=tmp_path / "journal")
    got = list(killing_a_worker(runner_for(DASK, PREPARATION), after=10)(work, given))
    assert got == list(run(given, LOCAL, tmp_path / "other"))
    processes, workers, threads, folders = zip(
        *(line.split(" ", 3) for line in (tmp_path / "journal").read_text().splitlines()), strict=True
    )
    assert len(set(workers)) >= 2
    assert not set(processes) & set(workers)
    assert set(threads) == {"1"}
    assert set(folders) == {os.getcwd()}
    assert children().keys() <= before.keys()


@pytest.mark.slow
def test_real_clips_come_out_the_same_to_the_byte(tmp_path: Path) -> None:
    frames, _ = talking_head(24)
    for number in range(40):
        write_film(tmp_path / f"{number}.mp4", frames[number % 12 :][:12], tone(0.5, hertz=200 + 10 * number))
    write_film(tmp_path / "7.mp4", [background()] * 8, tone(0.3))
    (tmp_path / "9.mp4").write_bytes(b"no film")
    names = [str(number) for number in range(40)]
    fixed = {"audio_path": None, "sha256": None, "audio_sha256": None, "status": "ok", "reason": ""}
    manifest = pd.DataFrame({"clip_id": names, "video_path": [f"{name}.mp4" for name in names]}).assign(**fixed)
    faces = FacesParams(detect_size=256, size=64)
    stores = {}
    for name, runner in {
        "dask": killing_a_worker(runner_for(DASK, PREPARATION), after=5),
        "local": runner_for(LOCAL, PREPARATION),
    }.items():
        out, cache = tmp_path / name, tmp_path / f"{name} cache"
        summary = prepare_faces(manifest, tmp_path, out, cache, faces, "single", PREPARATION, run=runner)
        stores[name] = summary, {path.name: path.read_bytes() for path in out.iterdir()}
    assert stores["dask"] == stores["local"]
    assert stores["dask"][0]["ok"] == 38


@pytest.mark.slow
def test_a_clip_that_crashes_or_hangs_costs_only_itself_even_if_it_kills_every_worker(tmp_path: Path) -> None:
    ids = [f"clip {number}" for number in range(80)]
    bad = {11: "kills its process", 38: "kills its worker", 57: "hangs"}
    for number, clip_id in bad.items():
        ids[number] = clip_id
    got = list(run(clips(*ids), DASK, tmp_path / "journal"))
    failures = {ids[number]: result.status for number, result in enumerate(got) if isinstance(result, ClipFailure)}
    assert failures == {"kills its process": "crashed", "kills its worker": "crashed", "hangs": "timeout"}
    good = clips(*(clip_id for clip_id in ids if clip_id not in failures))
    assert [result for result in got if isinstance(result, bytes)] == list(run(good, LOCAL, tmp_path / "other"))


@pytest.mark.slow
def test_a_stage_that_gives_up_leaves_no_process_behind(tmp_path: Path) -> None:
    before = children()
    results = run(clips(*(f"clip {number}" for number in range(500))), DASK, tmp_path / "journal")
    next(results)
    assert len(dask_workers()) == 2
    results.close()
    assert children().keys() <= before.keys()


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_CONNECT_SECONDS", 1)
    compute = ComputeParams(engine="dask", cluster="tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match=r"no Dask scheduler with a worker answers at tcp://127.0.0.1:1"):
        next(run(clips("clip"), compute, tmp_path / "journal"))
