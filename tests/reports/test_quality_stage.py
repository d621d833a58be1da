"""The stage as a user runs it, and its page in a real browser."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


def run(prepared, dataset: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.quality", "--dataset", dataset],
        cwd=prepared.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def printed(prepared) -> str:
    result = run(prepared, "mine")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command_writes_the_report_and_ends_with_what_it_found(prepared, printed):
    first, last = printed.splitlines()
    assert first == "report: reports/preparation/mine.html"
    assert last.startswith("mine: 8 of 11 clips are usable; LEAK: groups of copies in different folds: 1;")
    files = [path.name for path in sorted((prepared.folder / "reports/preparation").iterdir())]
    assert files == ["mine-duplicates.csv", "mine-rejects.csv", "mine.html"]
    assert (prepared.folder / "results/preparation/quality-mine.json").is_file()


def test_an_unknown_dataset_is_an_error_in_one_sentence(prepared):
    result = run(prepared, "yours")
    assert result.returncode == 1
    assert result.stderr == "error: no dataset `yours` in params.yaml; there are: mine\n"


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="no browser: apt-get install -y chromium chromium-driver")
def test_the_page_opens_in_a_browser_without_scripts(prepared, printed, tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --window-size=1100,1400"
    for flag in (*flags.split(), "--disable-background-networking", f"--user-data-dir={tmp_path / 'chromium'}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    try:
        browser.get((prepared.folder / "reports/preparation/mine.html").as_uri())
        assert "LEAK" in browser.find_element(By.CLASS_NAME, "warning").text
        pictures = browser.find_elements(By.TAG_NAME, "img")
        assert len(pictures) > 10
        assert all(int(picture.get_property("naturalWidth")) > 0 for picture in pictures)
        folded = browser.find_element(By.CSS_SELECTOR, "details table")
        assert not folded.is_displayed()
        browser.find_element(By.TAG_NAME, "summary").click()
        assert folded.is_displayed()
        assert browser.get_log("browser") == []
        assert browser.save_screenshot(str(tmp_path / "quality.png"))
    finally:
        browser.quit()
