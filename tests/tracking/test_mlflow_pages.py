"""The MLflow pages that a user opens, in a real browser."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By

from hicmae.tracking.stage_runs import track
from hicmae_core.config import load_params
from hicmae_core.evaluation.fold_results import metrics_of
from hicmae_core.evaluation.summary import summarise
from hicmae_core.reports.figures import plot_predictions
from hicmae_core.reports.markdown import short_markdown
from hicmae_core.reports.results import results_record, write_reports
from tests.browsing import needs_browser, open_browser, shows, wait_for

ROOT = Path(__file__).resolve().parents[2]
FOLDS = ("fold 1", "fold 2", "fold 3", "fold 4")
NUM_EPOCHS = 20

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a store with a pre-training and a study of four folds that were logged through our tracker."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "data" / "manifests").mkdir(parents=True)
    for name in ("demo", "demo_unlabelled"):
        pd.DataFrame({"clip_id": ["a", "b"]}).to_parquet(tmp_path / "data" / "manifests" / f"{name}.parquet")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "params.yaml")
    dataset = params.dataset["demo"]
    with track("pretrain", params) as tracker:
        tracker.log_metrics({"total": 2.0, "video": 0.9, "audio": 0.8, "contrastive": 3.0}, step=0)
        tracker.describe("Pre-training on 192 clips")
    rng = np.random.default_rng(0)
    tested = {}
    for fold in (1, 2, 3, 4):
        with track("finetune", params, "demo", fold) as tracker:
            for epoch in range(NUM_EPOCHS):
                loss = 1.4 * np.exp(-epoch / 6) + 0.02 * rng.standard_normal() + 0.05 * fold
                rates = {"lr": 1e-3 * (1 - epoch / NUM_EPOCHS), "gradient_norm": 1 + rng.random()}
                tracker.log_metrics({"train_loss": loss, **rates}, step=epoch)
        labels = np.arange(48) % 4
        is_right = rng.random(48) < 0.6 + 0.05 * fold
        tested[fold] = pd.DataFrame(
            {
                "clip_id": [f"{fold}-{clip}" for clip in range(48)],
                "subject": [f"{fold}-{clip // 16}" for clip in range(48)],
                "modality": "both",
                "shown": "both",
                "label": labels,
                "prediction": np.where(is_right, labels, (labels + 1) % 4),
            }
        )
        with track("evaluate", params, "demo", fold) as tracker:
            metrics = metrics_of(tested[fold], dataset)
            tracker.log_metrics({f"test_{name}": value for name, value in metrics.items()}, step=0)
            plot_predictions(tested[fold], dataset, tmp_path / "confusion.png")
            tracker.log_image(tmp_path / "confusion.png")
    summary = summarise("demo", dataset, tested, params.summarise, seed=0)
    write_reports(summary, tmp_path / "report")
    with track("summarise", params, "demo") as tracker:
        tracker.log_metrics({f"pooled_{name}": value for name, value in summary.pooled.items()}, step=0)
        for path in sorted((tmp_path / "report").iterdir()):
            tracker.log_artifact(path)
        tracker.describe(short_markdown(results_record(summary)))
    return uri


@pytest.fixture
def server(store: str, tmp_path: Path) -> Iterator[str]:
    """Address of a real MLflow server on the store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    with open(tmp_path / "server.log", "w") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", store], stdout=log, stderr=log, env=os.environ, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: is_up(address), seconds=90)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(20)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    yield from open_browser(tmp_path / "chromium")


def is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def click(browser: webdriver.Chrome, component: str) -> None:
    """Click the first element whose MLflow component name ends with `component`."""
    selector = f"[data-component-id$='{component}']"
    wait_for(lambda: bool(browser.find_elements(By.CSS_SELECTOR, selector)))
    browser.find_element(By.CSS_SELECTOR, selector).click()


def num_curves(browser: webdriver.Chrome) -> int:
    """Different bent lines in the chart of the training loss (points on a straight line are not drawn one by one)."""
    drawn = browser.execute_script("""
        return [...document.querySelectorAll("[data-testid='experiment-view-compare-runs-card']")]
            .filter(card => card.textContent.trim().startsWith("train_loss"))
            .flatMap(card => [...card.querySelectorAll("path.js-line")].map(path => path.getAttribute("d")))
    """)
    return sum(path.count("L") > NUM_EPOCHS / 2 for path in set(drawn))


def follow(browser: webdriver.Chrome, text: str) -> None:
    """Click the link that begins with `text`, as soon as it stands still; it opens another tab."""

    def has_clicked() -> bool:
        try:
            browser.find_element(By.PARTIAL_LINK_TEXT, text).click()
        except WebDriverException:
            return False
        return True

    wait_for(has_clicked)
    browser.switch_to.window(browser.window_handles[-1])


def image_sizes(browser: webdriver.Chrome) -> list[tuple[str, int]]:
    """Address and width of each image on the page that has been loaded."""
    return browser.execute_script("return [...document.images].map(image => [image.src, image.naturalWidth])")


def num_confusions(browser: webdriver.Chrome) -> int:
    return sum("confusion" in unquote(address) and width > 100 for address, width in image_sizes(browser))


def headings(browser: webdriver.Chrome) -> list[str]:
    """The columns of the runs table, left to right."""
    found = browser.find_elements(By.CSS_SELECTOR, ".ag-header-cell")
    return [cell.text for cell in sorted(found, key=lambda cell: cell.location["x"]) if cell.text]


def test_two_clicks_lead_to_the_folds_side_by_side(
    store: str, server: str, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    browser.get(f"{server}/#/experiments")
    wait_for(lambda: shows(browser, "demo", "pretraining"))
    click(browser, "assistant.chat_panel.close")
    browser.find_element(By.LINK_TEXT, "demo").click()  # the first click
    click(browser, "detect_issues.guidance.got_it")  # a hint of MLflow's, which a browser sees once
    follow(browser, "folds of demo both pretrained, statistics")  # the second
    wait_for(lambda: shows(browser, *FOLDS, "train_loss", "gradient_norm", "test_uar", "Parallel Coordinates"))
    wait_for(lambda: num_curves(browser) == len(FOLDS))
    assert shows(browser, "4 matching runs"), "the study is no line among its folds"
    time.sleep(1)  # charts fade in
    browser.save_screenshot(str(tmp_path / "mlflow-folds.png"))
    area = browser.find_element(By.CSS_SELECTOR, "[data-testid='experiment-view-compare-runs-chart-area']")

    def has_scrolled_to_confusions() -> bool:  # cards below appear when they come near
        browser.execute_script("arguments[0].scrollTop = arguments[0].scrollHeight", area)
        return num_confusions(browser) == len(FOLDS)

    wait_for(has_scrolled_to_confusions)
    browser.save_screenshot(str(tmp_path / "mlflow-confusion.png"))


def test_a_study_s_page_has_its_results_and_ways_on(
    store: str, server: str, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    client = MlflowClient(store)
    identity = client.get_experiment_by_name("demo").experiment_id
    study = next(run for run in client.search_runs([identity]) if "fold" not in run.data.tags)

    browser.get(f"{server}/#/experiments/{identity}/runs?viewStateShareKey=studies")
    wait_for(lambda: shows(browser, "demo both pretr", "pooled_uar"))
    assert headings(browser)[:3] == ["Run Name", "Created", "Duration"]
    assert headings(browser)[3:7] == ["pooled_uar", "pooled_war", "test_uar", "test_war"]
    click(browser, "saved_views.trigger")
    wait_for(lambda: shows(browser, "Folds of demo both pretrained, statistics", "Studies"))

    browser.get(f"{server}/#/experiments/{identity}/runs/{study.info.run_id}")
    uar = 100 * study.data.metrics["pooled_uar"]
    wait_for(lambda: shows(browser, f"UAR {uar:.2f} (", "pre-training demo_unlabelled demo"))
    click(browser, "assistant.chat_panel.close")
    browser.find_element(By.XPATH, "//*[text()='Show more']").click()
    wait_for(lambda: all(row.is_displayed() for row in browser.find_elements(By.XPATH, "//td[text()='fold 4']")))
    browser.save_screenshot(str(tmp_path / "mlflow-study.png"))

    follow(browser, "box plot and differences")
    wait_for(lambda: shows(browser, "Comparing 4 Runs", *FOLDS, "train_loss", "finetune.epochs"))
    wait_for(lambda: bool(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")))
    browser.save_screenshot(str(tmp_path / "mlflow-compare.png"))
    choose_box(browser, "x-axis-selector", "finetune.modality")
    choose_box(browser, "y-axis-selector", "test_uar")
    wait_for(lambda: bool(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot path.box")))
    browser.save_screenshot(str(tmp_path / "mlflow-box.png"))

    browser.get(f"{server}/#/experiments/{identity}/runs/{study.info.run_id}/artifacts/boxes.png")
    wait_for(lambda: any(width > 500 for _, width in image_sizes(browser)))


def choose_box(browser: webdriver.Chrome, selector: str, name: str) -> None:
    """Choose what an axis of the box plot shows."""
    if not browser.find_elements(By.ID, selector):
        browser.find_element(By.XPATH, "//button[.='Box Plot']").click()
        wait_for(lambda: bool(browser.find_elements(By.ID, selector)))
    browser.find_element(By.ID, selector).click()
    wait_for(lambda: bool(browser.find_elements(By.XPATH, f"//*[@role='option'][.='{name}']")))
    browser.find_element(By.XPATH, f"//*[@role='option'][.='{name}']").click()
