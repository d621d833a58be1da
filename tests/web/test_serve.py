"""`hicmae serve`: bounded uploads, sentences for wrong files, and the page in a real browser."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.parse
import wave
from itertools import pairwise
from multiprocessing import active_children

import av
import numpy as np
import pytest
from selenium.webdriver.common.by import By

from hicmae.web.model_process import ModelProcess
from hicmae_core.media.decoding import read_audio, read_frames
from tests.browsing import needs_browser, open_browser, shows, wait_for
from tests.conftest import ROOT
from tests.media.films import picture, tone, write_film

MAX_MEGABYTES, MAX_SECONDS = 4, 8


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    """Port of a server, and the folder of its temporary files."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hicmae.cli", "serve", "--port", port, "--model", model, "--keep", "kept"]
    command += ["--max-megabytes", MAX_MEGABYTES, "--max-seconds", MAX_SECONDS]
    (folder / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [*map(str, command)], cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            wait_for(lambda: is_up(port), seconds=90)
            yield port, folder
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
            assert "Traceback" not in (folder / "log").read_text()


def is_up(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def ask(port, data, where="/predict", content_type="video/mp4", **headers):
    """The answer's HTTP code and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    connection.request("POST", where, data, {"Content-Type": content_type, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_video_is_answered_in_json(server, film):
    code, text = ask(server[0], film.read_bytes())
    assert code == 200
    answer = json.loads(text)
    assert set(answer) == {"status", "reason", "used", "calibrated", "probabilities", "windows"}
    assert answer["used"] == "both"
    assert not answer["calibrated"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    starts = [window["start_seconds"] for window in answer["windows"]]
    assert starts[0] == 0
    assert all(0 < later - earlier <= 1 for earlier, later in pairwise(starts))
    assert answer["windows"][-1]["end_seconds"] == pytest.approx(4, abs=0.1)


def test_what_is_wrong_with_a_file_is_said_in_a_sentence(server, tmp_path):
    silent = write_film(tmp_path / "silent.mp4", [picture([(160, 120, 90)])] * 30)
    long = write_film(tmp_path / "long.mp4", [picture([])] * 25 * (MAX_SECONDS + 1), tone(MAX_SECONDS + 1))
    code, text = ask(server[0], silent.read_bytes(), "/predict?name=mine.mp4")
    assert (code, json.loads(text)["used"]) == (200, "video")
    assert json.loads(text)["reason"].startswith("mine.mp4: has no audio stream; predicted from the face alone")
    for data, status in ((b"Dear model,", "unreadable"), (b"", "zero_byte")):
        code, text = ask(server[0], data, "/predict?name=mine.mp4")
        assert (code, json.loads(text)["status"]) == (422, status)
        assert json.loads(text)["reason"].startswith("mine.mp4: ")
    code, text = ask(server[0], long.read_bytes(), "/explain")
    assert (code, json.loads(text)["status"]) == (422, "too_long")


def test_a_large_file_is_refused_while_it_comes(server):
    code, text = ask(server[0], iter([b"x" * 2**20] * 5))
    assert code == 413
    assert f"larger than {MAX_MEGABYTES} MB" in json.loads(text)["reason"]


def test_a_sender_that_goes_away_leaves_nothing_behind(server):
    port, folder = server
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n")
        connection.sendall(b"Content-Length: 1000\r\n\r\nthe first bytes")
        wait_for(lambda: any((folder / "tmp").glob("hicmae-*")))
    wait_for(lambda: not any((folder / "tmp").glob("hicmae-*")))


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_what_a_form_of_another_site_can_send_is_refused(server, film, kind):
    assert ask(server[0], film.read_bytes(), content_type=kind)[0] == 415


def test_a_foreign_name_for_this_machine_is_refused(server, film):
    assert ask(server[0], film.read_bytes(), Host="example.org")[0] == 400


def test_uploads_are_kept_only_where_asked_and_under_plain_names(server, film):
    port, folder = server
    for file in (folder / "kept").iterdir():
        file.unlink()
    ask(port, film.read_bytes(), "/predict?name=" + urllib.parse.quote("../../my film.mp4"))
    (kept,) = (folder / "kept").iterdir()
    assert kept.name.endswith("-my_film.mp4")
    assert kept.read_bytes() == film.read_bytes()
    assert list((folder / "tmp").glob("hicmae-*")) == []


def test_a_file_that_is_no_model_is_said_before_anything_is_served(tmp_path):
    (tmp_path / "model.safetensors").write_text("no model")
    with pytest.raises(ValueError, match=r"model.safetensors: not a readable"):
        ModelProcess(tmp_path / "model.safetensors", 60, 60)


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_answered(model, film):
    asker = ModelProcess(model, 60, 30)
    try:
        (process,) = active_children()
        os.kill(process.pid, signal.SIGSTOP)
        given_up = asker.ask(film)
        assert given_up["status"] == "timeout"
        assert "took more than 30 s" in given_up["reason"]
        assert asker.ask(film)["status"] == "ok"
    finally:
        asker.close()


@pytest.fixture
def browser(film, tmp_path):
    """A browser whose camera and microphone play the video."""
    with av.open(str(tmp_path / "camera.mjpeg"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
        for _, pixels in read_frames(film):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    with wave.open(str(tmp_path / "microphone.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes((read_audio(film) * 32767).astype(np.int16).tobytes())
    yield from open_browser(
        tmp_path / "chromium",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={tmp_path / 'camera.mjpeg'}",
        f"--use-file-for-fake-audio-capture={tmp_path / 'microphone.wav'}",
        "--autoplay-policy=no-user-gesture-required",
    )


@pytest.mark.slow
@needs_browser
def test_the_page_answers_a_chosen_file_and_says_what_is_wrong_with_another(server, film, browser, tmp_path):
    browser.get(f"http://127.0.0.1:{server[0]}/")
    (tmp_path / "letter.mp4").write_text("Dear model,")
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "letter.mp4"))
    wait_for(lambda: shows(browser, "letter.mp4: cannot be decoded"))
    browser.find_element(By.ID, "file").send_keys(str(film))
    wait_for(lambda: shows(browser, "Which layer", "neutral"))
    assert browser.execute_script("return document.querySelectorAll('.faces img').length") == 4
    wait_for(lambda: browser.execute_script("return document.querySelector('.screen video').readyState") == 4)
    browser.save_screenshot(str(tmp_path / "serve.png"))
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert len(severe) == 1, severe
    assert "422" in severe[0]


@pytest.mark.slow
@needs_browser
def test_a_recording_is_answered(server, browser, tmp_path):
    browser.get(f"http://127.0.0.1:{server[0]}/")
    browser.find_element(By.ID, "record").click()
    wait_for(lambda: shows(browser, "Stop and predict"))
    wait_for(lambda: browser.execute_script("return document.getElementById('preview').currentTime") > 3)
    if shows(browser, "Stop and predict"):  # on a busy machine the time may be up
        browser.find_element(By.ID, "record").click()
    wait_for(lambda: shows(browser, "Which layer") or browser.find_elements(By.CSS_SELECTOR, "#state.warning"))
    assert shows(browser, "recording.webm"), browser.find_element(By.TAG_NAME, "body").text
    browser.save_screenshot(str(tmp_path / "recording.png"))
    wait_for(lambda: browser.execute_script("return document.querySelector('.screen video').readyState") == 4)
