"""The MLflow pages that a user opens, in a real browser."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.common.by import By

from hicmae_core.config import load_params
from stages.tracking import track
from tests.browsing import needs_browser, open_browser, shows, wait_for

ROOT = Path(__file__).resolve().parents[2]
FOLDS = ("fold 1", "fold 2", "fold 3", "fold 4")
NUM_EPOCHS = 20

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a store with a pre-training and four folds that were logged through our tracker."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "data" / "manifests").mkdir(parents=True)
    for name in ("demo", "demo_unlabelled"):
        pd.DataFrame({"clip_id": ["a", "b"]}).to_parquet(tmp_path / "data" / "manifests" / f"{name}.parquet")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "params.yaml")
    with track("pretrain", params):
        pass
    rng = np.random.default_rng(0)
    for fold in (1, 2, 3, 4):
        with track("finetune", params, "demo", fold) as tracker:
            for epoch in range(NUM_EPOCHS):
                loss = 1.4 * np.exp(-epoch / 6) + 0.02 * rng.standard_normal() + 0.05 * fold
                tracker.log_metrics({"train_loss": loss, "lr": 1e-3 * (1 - epoch / NUM_EPOCHS)}, step=epoch)
        with track("evaluate", params, "demo", fold) as tracker:
            tracker.log_metrics({"test_war": 0.7 + 0.03 * fold, "test_uar": 0.68 + 0.03 * fold}, step=0)
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


def test_the_folds_and_their_curves_are_on_the_page(
    store: str, server: str, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    identity = experiment.experiment_id
    runs = client.search_runs([identity], "tags.fold != ''")

    browser.get(f"{server}/#/experiments/{identity}/runs?compareRunsMode=CHART")
    wait_for(lambda: shows(browser, "demo both pretr"))
    click(browser, "assistant.chat_panel.close")
    click(browser, "runnamecellrenderer.tsx_46")  # the plus sign of the study
    wait_for(lambda: shows(browser, *FOLDS, "train_loss", "test_war"))
    wait_for(lambda: num_curves(browser) == len(FOLDS))
    time.sleep(1)  # charts fade in
    browser.save_screenshot(str(tmp_path / "mlflow-folds.png"))

    chosen = json.dumps([run.info.run_id for run in runs])
    browser.get(f"{server}/#/compare-runs?runs={chosen}&experiments={json.dumps([identity])}")
    wait_for(lambda: shows(browser, "Comparing 4 Runs", *FOLDS, "train_loss", "finetune.epochs"))
    wait_for(lambda: bool(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")))
    browser.save_screenshot(str(tmp_path / "mlflow-compare.png"))
