"""Models are registered, loaded, served and promoted, in a real store."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from hicmae.cli import register as command
from hicmae.tracking.model_registry import promote, register
from hicmae.tracking.model_store import ModelStore
from hicmae.tracking.served_model import TEXT_COLUMNS
from hicmae.tracking.stage_runs import resolve_model
from hicmae.tracking.store import MlflowStore
from hicmae_core.config import DatasetParams
from tests.loading import ask
from tests.media.films import picture, tone, write_film
from tests.tracking.registered import study
from tests.tracking.tracked import PARAMS

CLASSES = ["anger", "happiness", "neutral", "sadness"]


DATASETS = {
    "regression": DatasetParams(corpus="csv", task="regression", targets=("arousal", "valence"), num_folds=2),
    "multi_classification": DatasetParams(
        corpus="csv", task="multi_classification", classes=("low", "high"), targets=("arousal", "valence"), num_folds=2
    ),
}
"""Other tasks than the demo's; each is called `demo` in its test."""


@pytest.fixture
def store(project: Path) -> MlflowStore:
    """A store with one finished study, that of params.yaml."""
    study(project, 0.5)
    return MlflowStore(project)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a head, with a tone."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_film(path, [picture([(160, 120, 90)])] * 50, tone(2.0))
    return path


def test_a_registered_model_tells_where_it_comes_from_and_scores_a_table(
    store: MlflowStore, film: Path, tmp_path: Path
) -> None:
    version = register(store, PARAMS, "demo")
    assert register(store, PARAMS, "demo").version == version.version == 1
    tags = version.tags
    assert (tags["fold"], tags["fold_selection"]) == ("1", "the first fold, whatever its result")
    assert tags["study_selection"] == "the study of params.yaml"
    assert tags["data_digest"]
    assert tags["study_key"]
    again = ModelStore(store).find("models:/hicmae-demo@candidate")
    assert int(again.version) == 1
    weights = resolve_model("models:/hicmae-demo@candidate")

    encoded = base64.b64encode(film.read_bytes()).decode()
    table = pd.DataFrame(
        {"video": [str(film), "nowhere.mp4", "sent.mp4", "bad.mp4"], "video_base64": [None, None, encoded, "&"]}
    )
    answered = ask("models:/hicmae-demo@candidate", table, tmp_path, store.uri)
    assert answered["video"].tolist() == table["video"].tolist()
    assert answered["status"].tolist() == ["ok", "missing", "ok", "unreadable"]
    columns = [f"p_{name}" for name in CLASSES]
    assert answered.loc[0, columns].sum() == pytest.approx(1)
    assert answered.loc[0, columns].tolist() == answered.loc[2, columns].tolist()
    assert answered.loc[0, "label"] == CLASSES[int(np.argmax(answered.loc[0, columns]))]
    assert answered.loc[1, columns].isna().all()
    assert answered.loc[3, "reason"].startswith("video_base64 is not base64")
    with pytest.raises(AssertionError, match=r"(?s)MlflowException.*video"):
        ask("models:/hicmae-demo@candidate", pd.DataFrame({"video": [1]}), tmp_path, store.uri)
    folder = weights.parents[1]
    assert (folder / "code" / "hicmae_core" / "inference" / "video.py").is_file()
    assert f"torch=={torch.__version__.partition('+')[0]}" in (folder / "requirements.txt").read_text()
    assert not list(folder.rglob("*.pkl"))


@pytest.mark.parametrize(
    ("task", "metric", "columns"),
    [
        ("regression", "pcc", ["arousal", "valence"]),
        (
            "multi_classification",
            "weighted_f1",
            [f"p_{t}_{c}" for t in ("arousal", "valence") for c in ("low", "high")],
        ),
    ],
)
def test_other_tasks_are_registered_promoted_and_answer(
    project: Path, film: Path, tmp_path: Path, task: str, metric: str, columns: list[str]
) -> None:
    params = study(project, 0.5, dataset=DATASETS[task])
    store = MlflowStore(project)
    version = register(store, params, "demo")
    assert f"{metric} 0.500" in version.description
    assert promote(store, params, "demo").is_champion

    worse = study(project, 0.3, epochs=17, dataset=DATASETS[task])
    register(store, worse, "demo")
    refused = promote(store, worse, "demo")
    assert not refused.is_champion
    assert f"{metric} -" in refused.message
    better = study(project, 0.8, epochs=18, dataset=DATASETS[task])
    assert register(store, better, "demo", best=True).tags["study"] == version.tags["study"]
    promoted = promote(store, better, "demo")
    assert promoted.is_champion
    assert f"{metric} +" in promoted.message

    table = pd.DataFrame({"video": [str(film), "nowhere.mp4"], "video_base64": [None, None]})
    answered = ask("models:/hicmae-demo@champion", table, tmp_path, store.uri)
    assert answered["status"].tolist() == ["ok", "missing"]
    assert [name for name in answered if name not in (*TEXT_COLUMNS, "calibrated")] == columns
    assert np.isfinite(answered.loc[0, columns].astype(float)).all()
    if task == "regression":
        assert answered.loc[0, "label"] == ""
    else:
        assert len(answered.loc[0, "label"].split(", ")) == 2
        assert answered.loc[0, columns[:2]].sum() == pytest.approx(1)


def test_what_cannot_be_registered_is_told(store: MlflowStore) -> None:
    with pytest.raises(ValueError, match="no run of fold 9; there are: 1, 2"):
        register(store, PARAMS, "demo", fold=9)
    with pytest.raises(ValueError, match="no run `nothing`"):
        register(store, PARAMS, "demo", study="nothing")
    other = PARAMS.model_copy(update={"seed": 9})
    with pytest.raises(ValueError, match="no finished study"):
        register(store, other, "demo")


def test_the_command_says_where_the_model_is(store: MlflowStore, capsys: pytest.CaptureFixture[str]) -> None:
    (store.root / "params.yaml").write_text(yaml.safe_dump(PARAMS.model_dump(mode="json")))
    command.main("demo", fold=2)
    printed = capsys.readouterr().out
    assert printed.startswith("models:/hicmae-demo/1 is models:/hicmae-demo@candidate: Fold 2 (named)")
    assert "next: python -m pipelines.flows.promote --dataset demo" in printed
    with pytest.raises(ValueError, match="--study and --best"):
        command.main("demo", study="a", best=True)


def test_the_gate_lets_only_a_better_candidate_through(store: MlflowStore, project: Path) -> None:
    models = ModelStore(store)
    with pytest.raises(ValueError, match="no models:/hicmae-demo@candidate"):
        promote(store, PARAMS, "demo")
    register(store, PARAMS, "demo")
    assert promote(store, PARAMS, "demo") == (True, "hicmae-demo version 1 is the first champion")
    assert promote(store, PARAMS, "demo").message == "hicmae-demo version 1 is the champion already"

    study(project, 0.5, epochs=17)  # as good
    equal = next(run for run in store.studies_of("demo") if run.data.params["finetune.epochs"] == "17")
    register(store, PARAMS, "demo", study=equal.info.run_id)
    verdict = promote(store, PARAMS, "demo")
    assert not verdict.is_champion
    assert "not promoted, hicmae-demo version 2 against version 1: uar +0.000 on 200 clips of 10" in verdict.message
    assert int(models.find("models:/hicmae-demo@champion").version) == 1
    assert int(models.find("models:/hicmae-demo@candidate").version) == 2

    study(project, 0.75, epochs=18)
    version = register(store, PARAMS, "demo", best=True)
    assert version.tags["study_selection"] == "test-selected: the best pooled_uar of 3 studies"
    assert promote(store, PARAMS, "demo").message.startswith(
        "promoted, hicmae-demo version 3 against version 1: uar +0"
    )
    assert int(models.find("models:/hicmae-demo@champion").version) == 3


def of_units(right: float) -> dict[int, pd.DataFrame]:
    """Two folds of 25 units of 4 clips: the right class has 0.9 in the first clip and `right` in the others."""
    folds = {}
    for fold in (1, 2):
        unit, take = np.divmod(np.arange(100), 4)
        labels, of_right = unit % 4, np.where(take == 0, 0.9, right)
        probabilities = np.zeros((100, 4))
        probabilities[np.arange(100), labels] = of_right
        probabilities[np.arange(100), (labels + 1) % 4] = 1 - of_right
        rows = {
            "clip_id": [f"{fold}-{clip}" for clip in range(100)],
            "subject": [f"{fold}-{number // 5}" for number in unit],
            "unit": [f"{fold}-u{number}" for number in unit],
            "label": labels,
            "prediction": probabilities.argmax(axis=1),
            **{f"p_{name}": probabilities[:, index] for index, name in enumerate(CLASSES)},
        }
        folds[fold] = pd.DataFrame(rows)
    return folds


@pytest.mark.parametrize("champion_has_units", [True, False])
def test_the_gate_compares_units(store: MlflowStore, project: Path, champion_has_units: bool) -> None:
    """Clip by clip both are right about a quarter; the candidate about every unit, the champion about none.

    A champion from before there were units is scored by the candidate's.
    """
    before = {fold: rows if champion_has_units else rows.drop(columns="unit") for fold, rows in of_units(0.24).items()}
    study(project, 0.5, epochs=17, predictions=before)
    study(project, 0.5, epochs=18, predictions=of_units(0.4))
    by_epochs = {run.data.params["finetune.epochs"]: run.info.run_id for run in store.studies_of("demo")}
    register(store, PARAMS, "demo", study=by_epochs["17"])
    promote(store, PARAMS, "demo")
    register(store, PARAMS, "demo", study=by_epochs["18"])
    verdict = promote(store, PARAMS, "demo")
    assert verdict.is_champion
    assert "uar +1.000 on 50 units of 200 clips of 10 subjects" in verdict.message


@pytest.mark.slow
def test_mlflow_serves_it_offline_where_the_project_is_not(store: MlflowStore, film: Path, tmp_path: Path) -> None:
    register(store, PARAMS, "demo")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-P", "-m", "mlflow", "models", "serve", "--model-uri", "models:/hicmae-demo@candidate",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": store.uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with open(tmp_path / "serve.log", "w") as log:
        server = subprocess.Popen(
            command, cwd=elsewhere, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not answers(f"{address}/ping"):
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        row = {"video": "sent.mp4", "video_base64": base64.b64encode(film.read_bytes()).decode()}
        request = urllib.request.Request(
            f"{address}/invocations",
            json.dumps({"dataframe_records": [row, {"video": "nowhere.mp4", "video_base64": None}]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            first, second = json.load(answer)["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
    assert first["status"] == "ok"
    assert sum(first[f"p_{name}"] for name in CLASSES) == pytest.approx(1)
    assert (second["status"], second["p_anger"]) == ("missing", None)
    assert first["label"] in CLASSES


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
