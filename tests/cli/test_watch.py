"""`hicmae watch`: a folder that grows under a real process, and a source that OpenCV opens."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pyarrow as pa
import pytest
import torch

from hicmae.cli import inputs
from hicmae.cli.inputs import GrowingFolder
from hicmae.web.camera import Camera
from hicmae_core.data.tensors import decode_frames
from hicmae_core.evaluation.prediction import predict_windows
from hicmae_core.inference.video import open_video_reader
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.browsing import wait_for
from tests.conftest import ROOT
from tests.media.films import picture, write_film


@contextmanager
def watching(folder, *arguments):
    """`hicmae watch`, ended by Ctrl-C, which a terminal sends to the whole process group."""
    command = [sys.executable, "-m", "hicmae.cli", "watch", *arguments, "--model", "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(folder / "said", "w") as out, open(folder / "log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=log, env=environment, start_new_session=True)
        try:
            yield
            assert process.poll() is None, (folder / "log").read_text()
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    *notes, last = (folder / "log").read_text().splitlines()
    assert last == "stopped"
    assert all("passed over" in note for note in notes)


def answered(folder):
    """Status of each video in the table, in its order."""
    if not (folder / "answers.csv").exists():
        return {}
    with open(folder / "answers.csv", newline="") as file:
        return {row["video"]: row["status"] for row in csv.DictReader(file) if row["part"] == "clip"}


def test_a_growing_folder_is_answered_as_it_grows(folder, hicmae):
    inbox = folder / "inbox"
    inbox.mkdir()
    shutil.copy(folder / "one.mp4", inbox / "known.mp4")
    hicmae("predict", "inbox/known.mp4", "--model", ".", "--csv", "answers.csv", cwd=folder)
    with open(folder / "answers.csv", "a") as file:
        file.write("inbox/slow.mp4,1,cl")  # as a kill may leave it
    content = (folder / "one.mp4").read_bytes()
    with watching(folder, "inbox", "--csv", "answers.csv", "--json"):
        (inbox / "notes.txt").write_text("no video")
        (inbox / "broken.mp4").write_bytes(content[: len(content) * 2 // 3])
        with open(inbox / "slow.mp4", "wb", buffering=0) as file:
            for step in range(20):
                file.write(content[step * len(content) // 20 : (step + 1) * len(content) // 20])
                time.sleep(0.5)
        wait_for(lambda: len(answered(folder)) == 3)
    found = {"inbox/known.mp4": "ok", "inbox/slow.mp4": "ok", "inbox/broken.mp4": "unreadable"}
    assert answered(folder) == found
    records = [json.loads(line) for line in (folder / "said").read_text().splitlines()]
    assert sorted(record["video"] for record in records) == ["inbox/broken.mp4", "inbox/slow.mp4"]
    by_video = {record["video"]: record for record in records}
    assert len(by_video["inbox/slow.mp4"]["windows"]) == 3
    assert by_video["inbox/broken.mp4"]["reason"].startswith("inbox/broken.mp4: ")


def test_a_file_is_handed_out_once_it_rests_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "PATIENCE_SECONDS", (0.2, 1.0))
    (tmp_path / "known.mp4").write_bytes(b"known")
    folder = GrowingFolder(tmp_path, [tmp_path / "known.mp4", tmp_path / "gone.mp4"])
    film = tmp_path / "film.mp4"

    def found(seconds):
        end, handed_out = time.monotonic() + seconds, []
        while time.monotonic() < end:
            handed_out += folder.finished()
            time.sleep(0.02)
        return handed_out

    film.write_bytes(b"half")
    assert folder.finished() == []
    assert found(0.5) == [film]
    assert folder.put_off(film)
    assert found(1.0) == [film]
    assert not folder.put_off(film)
    film.write_bytes(b"half and half")
    assert found(0.5) == [film]
    assert found(0.5) == []
    film.unlink()
    assert folder.finished() == []


def test_what_opencv_opens_is_answered_film_by_film_without_sound(hicmae, folder):
    ask = ("watch", "--camera", "one.mp4", "--model", ".", "--json")
    result = hicmae(*ask, "--csv", "camera.csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["status"] for record in records] == ["ok", "ok"]  # of 17 images each: 2 s have 50
    assert [record["start_seconds"] for record in records] == pytest.approx([0, 17 / 25], abs=1e-3)
    assert {record["video"] for record in records} == {"one.mp4"}
    assert sum(records[0]["probabilities"].values()) == pytest.approx(1)
    with open(folder / "camera.csv", newline="") as file:
        assert [row["start_seconds"] for row in csv.DictReader(file)] == ["0.0", "0.68"]
    line, _ = hicmae(*ask[:-1], cwd=folder).stdout.splitlines()
    assert line.startswith("one.mp4 (face alone), 0.0 - 0.7 s: ")
    silent = write_film(folder / "silent.mp4", [picture([(160, 120, 90)])] * 50)
    assert hicmae("watch", "--camera", silent, "--model", ".", "--json", cwd=folder).stdout == result.stdout.replace(
        "one.mp4", str(silent)
    )


def test_a_model_that_only_listens_has_no_use_for_a_camera(hicmae, folder, tmp_path):
    model = classifier("demo", 2, num_audio_frames=32, modality="audio")
    save_model(tmp_path / "model.safetensors", model, {"classes": ["sad", "glad"], "targets": []})
    result = hicmae("watch", "--camera", "one.mp4", "--model", tmp_path, cwd=folder)
    assert result.returncode == 1
    assert "error: the model reads audio alone" in result.stderr


@pytest.mark.skipif(os.path.exists("/dev/video7"), reason="there is a camera")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--camera", "7"], "camera 7: there is no /dev/video7; plug a camera in"),
        (["--camera", "none.mp4"], "none.mp4: cannot be opened"),
        ([], "Name a folder, or a camera with --camera 0"),
        ([".", "--camera", "7"], "Name a folder, or a camera with --camera 0"),
        (["nowhere"], "nowhere: no such folder to watch"),
        ([".", "--csv", "other.csv"], "other.csv: holds other columns"),
    ],
)
def test_mistakes_are_told_in_one_sentence(hicmae, folder, arguments, words):
    (folder / "other.csv").write_text("a,b\n1,2\n")
    result = hicmae("watch", *arguments, "--model", ".", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert words in result.stderr


def test_a_camera_s_film_is_what_was_seen(folder, tmp_path):
    """The silent answer is that of the same windows with zeros in the place of the audio."""
    reader = open_video_reader(folder / "model.safetensors", None, 2, torch.device("cpu"))
    camera = Camera(str(folder / "one.mp4"))
    next(camera.record(1.0, tmp_path / "film.mp4"))
    camera.close()
    ((window_outputs,),) = reader.judge([reader.preprocessor(silent=True).preprocess(tmp_path / "film.mp4")], 0.0)
    jpegs = pa.array(window_outputs.face_sample.track.frames, pa.binary())
    frames = torch.stack([decode_frames(jpegs, window.frames) for window in window_outputs.timeline.windows])
    expected = predict_windows(reader.model, frames, None, 8)
    torch.testing.assert_close(window_outputs.outputs, expected)
    assert window_outputs.face_sample.track.fps == pytest.approx(25, abs=0.01)
