"""Experiments of the real graph, as people compare them: the table, the difference of metrics, the page of plots."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browsing import needs_browser, open_browser, shows, wait_for
from tests.conftest import ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def compared(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose results are committed, with one experiment that ran at once and one from the queue."""
    project = Project(shutil.copytree(finished_project.folder, tmp_path_factory.mktemp("compared") / "project"))
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "results")
    project.run("dvc", "exp", "run", "--name", "audio-shown", "--set-param", "evaluate.modality=audio")
    project.run("git", "checkout", "-q", ".")
    project.run("dvc", "checkout", "-q")
    project.run("dvc", "exp", "run", "--queue", "--name", "one-segment", "--set-param", "evaluate.num_segments=1")
    project.run("dvc", "exp", "run", "--run-all")
    return project


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A browser that finds no other machine."""
    yield from open_browser(tmp_path / "chromium", "--host-resolver-rules=MAP * ~NOTFOUND")


def test_the_table_holds_what_people_compare(compared: Project) -> None:
    found = re.search(r"dvc exp show .*--drop '(.*)'", (ROOT / "Makefile").read_text())
    assert found is not None
    dropped = found[1].replace("$$", "$")
    told = compared.run("dvc", "exp", "show", "--csv", "--only-changed", "--drop", dropped).stdout
    rows = {row["Experiment"]: row for row in csv.DictReader(told.splitlines())}
    columns = list(next(iter(rows.values())))
    metrics = [f"{row}.uar" for row in ("mean", "std", "pooled", "low", "high")]
    assert [name for name in columns if name.endswith(".uar")] <= metrics
    described = {"Experiment", "rev", "typ", "parent", "State"}
    assert set(columns) <= {*metrics, *described, "evaluate.modality", "evaluate.num_segments"}
    assert (rows["audio-shown"]["evaluate.modality"], rows["one-segment"]["evaluate.num_segments"]) == ("audio", "1")


def test_metrics_differ_by_what_is_reported_alone(compared: Project) -> None:
    told = compared.run("dvc", "metrics", "diff", "HEAD", "audio-shown", "--all", "--json").stdout
    files = json.loads(told)
    assert set(files) == {"models/pretrain/metrics.json", "reports/demo/metrics.json"}
    assert set(files["models/pretrain/metrics.json"]) == {"total", "video", "audio", "contrastive"}
    change = files["reports/demo/metrics.json"]["pooled.uar"]
    assert change["new"] - change["old"] == pytest.approx(change["diff"])


@needs_browser
def test_the_page_of_plots_is_whole_without_a_network(compared: Project, browser: webdriver.Chrome) -> None:
    told = compared.run("dvc", "plots", "diff", "HEAD", "audio-shown")
    assert "failed" not in told.stderr
    page = compared.folder / "dvc_plots" / "index.html"
    plots = page.read_text().partition("<main>")[2]
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page.read_text())
    browser.get(page.as_uri())
    wait_for(lambda: len(browser.find_elements(By.CSS_SELECTOR, "canvas.marks")) == 4)
    assert shows(browser, "models/pretrain/reconstruction.png", "reports/demo/confusion.png", "reports/demo/folds.png")
    for title in ("Pre-training, loss", "Pre-training, parts of the loss", "demo, test clips of all folds"):
        assert plots.count(f'"title": {{"text": "{title}"') == 1
    (curves,) = [line for line in plots.splitlines() if "demo, fine-tuning loss of each fold" in line]
    for name in ("1/history.csv", "2/history.csv", "HEAD", "audio-shown"):
        assert f'"{name}"' in curves
    images = browser.execute_script("return [...document.images].map(image => [image.src, image.naturalWidth])")
    assert len(images) >= 2 * 3
    assert [source for source, width in images if width < 100] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
