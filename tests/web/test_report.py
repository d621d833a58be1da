"""The page that explains one video: it holds everything, loads nothing, and moves with the video."""

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest
import torch

from hicmae.web.page import embedded_video, report_page
from hicmae_core.media.decoding import read_frames
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.browsing import needs_browser, open_browser, shows, wait_for
from tests.conftest import ROOT


def explain(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hicmae.cli", "explain", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_a_video_becomes_one_page_that_loads_nothing(film, model, tmp_path):
    result = explain(film, "--model", model, "--out", "page.html", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "page.html").read_text()
    assert "<title>head &amp; shoulders.mp4</title>" in page
    assert "default-src 'none'" in page
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert data["video"].startswith("data:video/mp4;base64,")
    assert data["names"] == ["anger", "<b>joy</b>", "neutral"]
    assert sum(data["whole"]) == pytest.approx(1)
    assert len(data["face"]["boxes"]) == 100


def test_a_wrong_file_gets_a_sentence(model, tmp_path):
    (tmp_path / "letter.mp4").write_text("Dear model,")
    result = explain("letter.mp4", "--model", model, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: letter.mp4: ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "report.html").exists()


def test_what_browsers_cannot_play_becomes_a_picture_each_second(film, tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 320, 240
        for _, pixels in read_frames(film):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    found = embedded_video(path)
    assert "video" not in found
    assert [picture["seconds"] for picture in found["pictures"]] == [0, 1, 2, 3]


def test_a_name_cannot_end_the_script():
    page = report_page("</script><script>alert(1)", "", {"reason": "</script><script>alert(1)"})
    assert "alert(1)" in page
    assert "<script>alert" not in page


@pytest.fixture
def browser(tmp_path):
    yield from open_browser(tmp_path / "chromium", "--autoplay-policy=no-user-gesture-required")


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_the_page_moves_with_the_film(film, tmp_path, browser, modality):
    torch.manual_seed(0)
    model = classifier("demo", 2, image_size=32, num_frames=8, modality=modality)
    metadata = {"classes": [], "targets": ["arousal", "valence"], "frame_stride": 4}
    save_model(tmp_path / "model.safetensors", model, metadata)
    result = explain(film, "--model", "model.safetensors", cwd=tmp_path)
    assert result.returncode == 0, result.stderr

    browser.get(f"file://{tmp_path / 'report.html'}")
    wait_for(lambda: shows(browser, "Which layer", "arousal"))
    assert shows(browser, "Which modality") == (modality == "both")
    assert browser.execute_script("return document.querySelectorAll('.faces img').length") == (
        0 if modality == "audio" else 4
    )
    before = state(browser)
    seek = "const v = document.querySelector('video'); if (v) v.currentTime = 3; "
    seek += "else { const s = document.querySelector('input[type=range]'); s.value = 3; "
    seek += "s.dispatchEvent(new Event('input')); }"
    browser.execute_script(seek)
    wait_for(lambda: float(state(browser)["cursor"].rstrip("%")) == pytest.approx(75, abs=1))
    after = state(browser)
    assert after["window"] != before["window"]
    if modality != "audio":
        assert after["box"] != before["box"]
    browser.save_screenshot(str(tmp_path / "explain.png"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def state(browser):
    return browser.execute_script("""
        const box = document.querySelector(".screen rect");
        return {cursor: document.querySelector(".cursor").style.left, box: box && box.getAttribute("x"),
                window: document.querySelector(".window").style.left};
    """)
