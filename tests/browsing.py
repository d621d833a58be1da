"""A real headless browser for the tests of pages."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
OPTIONS = """--headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run
--disable-background-networking --disable-component-update --disable-sync --window-size=1600,1300"""

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="no browser: apt-get install -y chromium chromium-driver"
)


def open_browser(profile: Path, *options: str) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile, closed afterwards; for fixtures."""
    chosen = webdriver.ChromeOptions()
    chosen.binary_location = CHROMIUM
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in [*OPTIONS.split(), f"--user-data-dir={profile}", *options]:
        chosen.add_argument(option)
    driver = webdriver.Chrome(chosen, webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


def shows(browser: webdriver.Chrome, *words: str) -> bool:
    text = browser.find_element(By.TAG_NAME, "body").text
    return all(word in text for word in words)
