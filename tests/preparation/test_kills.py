"""A preparation that is killed, wherever it is: the next run goes on, and nobody can tell from the shards."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from hicmae_core.config import FacesParams, PreparationParams
from hicmae_core.preparation import journal, writing
from hicmae_core.preparation.preparing import prepare_audio
from hicmae_core.store.shards import ClipStore
from tests.forking import FORKS, Dying
from tests.media.films import talking_head, tone, write_film

SETTINGS = PreparationParams(num_shards=2, max_reject_fraction=0.5)
FACES = FacesParams(detect_size=128, size=48)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def manifest_of(raw: Path) -> pd.DataFrame:
    names = sorted(path.name for path in raw.iterdir())
    frame = pd.DataFrame({"clip_id": [name.split(".")[0] for name in names], "video_path": names})
    return frame.assign(audio_path=None, sha256=None, audio_sha256=None, status="ok")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    frames, _ = talking_head(20)
    for index in range(5):
        write_film(folder / f"clip{index}.mp4", frames[index : index + 12], tone(0.48, hertz=200 + 40 * index))
    (folder / "bad.mp4").write_bytes(b"no film")
    return folder


def prepare_in_child(raw: Path, folder: Path, calls_left: int) -> bool:
    """Prepare the audio in a process that dies before its n-th operation on a file; whether it did."""
    child = FORKS.Process(target=prepare_and_die, args=(raw, folder, calls_left))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode == -signal.SIGKILL


def prepare_and_die(raw: Path, folder: Path, calls_left: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    dying = Dying(calls_left)
    for name in ("replace", "link", "fsync"):
        setattr(os, name, dying(getattr(os, name)))
    Path.unlink = dying(Path.unlink)
    journal.zlib.crc32 = dying(journal.zlib.crc32)
    writing.pa.ipc.new_file = dying(writing.pa.ipc.new_file)
    prepare(raw, folder)


def prepare(raw: Path, folder: Path) -> dict:
    run = lambda work, clips: map(work, clips)  # noqa: E731
    return prepare_audio(manifest_of(raw), raw, folder / "out", folder / "cache", SETTINGS, run=run)


def test_killed_at_every_operation_on_a_file(raw, tmp_path):
    prepare(raw, tmp_path / "whole")
    whole = contents(tmp_path / "whole" / "out")
    cached = {path.name for path in (tmp_path / "whole" / "cache").iterdir()}
    for calls in range(1, 1000):
        folder = tmp_path / str(calls)
        if not prepare_in_child(raw, folder, calls):
            break
        prepare(raw, folder)
        assert contents(folder / "out") == whole, f"killed at operation {calls}"
        assert {path.name for path in (folder / "cache").iterdir()} == cached
    assert calls > 24


def test_killed_again_and_again(raw, tmp_path):
    prepare(raw, tmp_path / "whole")
    kills = 0
    while prepare_in_child(raw, tmp_path / "killed", 6 + 2 * kills):
        kills += 1
    assert kills > 3
    assert contents(tmp_path / "killed" / "out") == contents(tmp_path / "whole" / "out")


SCRIPT = """
import os, signal, sys
from pathlib import Path
from hicmae_core.preparation.journal import Journal
from hicmae_core.preparation.preparing import prepare_faces
from tests.preparation.test_kills import FACES, SETTINGS, manifest_of

append = Journal.append
raw, folder, num_processes, clips_left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


def append_or_die(journal, content):
    global clips_left
    batch = append(journal, content)
    clips_left -= 1
    if clips_left == 0:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
        (folder / "workers.txt").write_text(children)
        os.kill(os.getpid(), signal.SIGKILL)
    return batch


if __name__ == "__main__":
    Journal.append = append_or_die
    prepare_faces(
        manifest_of(raw), raw, folder / "out", folder / "cache", FACES, "single", SETTINGS, num_processes=num_processes
    )
"""


def prepare_faces_in_process(raw: Path, folder: Path, num_processes: int, num_clips: int) -> tuple[int, int]:
    """Prepare the faces in a process of its own that is killed after `num_clips`: its exit code, and clips reused."""
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, folder / "script.py", raw, folder, str(num_processes), str(num_clips)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    return done.returncode, int(re.findall(r"(\d+) clips reused", done.stderr)[0])


@pytest.mark.slow
def test_killed_while_its_workers_are_at_work(raw, tmp_path):
    assert prepare_faces_in_process(raw, tmp_path / "whole", 1, -1) == (0, 0)
    num_reused = 0
    for num_clips in (2, 1, 2):
        assert prepare_faces_in_process(raw, tmp_path / "killed", 2, num_clips) == (-signal.SIGKILL, num_reused)
        num_reused += num_clips
    assert prepare_faces_in_process(raw, tmp_path / "killed", 2, -1) == (0, 5)
    assert contents(tmp_path / "killed" / "out") == contents(tmp_path / "whole" / "out")
    assert len(ClipStore(tmp_path / "killed" / "out")) == 5
    workers = (tmp_path / "killed" / "workers.txt").read_text().split()
    assert len(workers) >= 2
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]  # none outlives its parent for long
