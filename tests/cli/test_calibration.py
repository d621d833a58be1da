"""Temperatures on their way from held-out speakers to answers; `hicmae calibrate` and `hicmae map`."""

import importlib
import json
import math

import pandas as pd
import pytest
import yaml
from PIL import Image

from hicmae import layout
from hicmae_core.model.artifact import load_classifier, read_metadata, save_model
from hicmae_core.store.manifest import MANIFEST_COLUMNS, write_manifest
from tests.media.films import picture, tone, write_film
from tests.training.conftest import CLASSES, CLIP_IDS, NO_AUGMENTATION, PARAMS, write_clips


@pytest.fixture
def study(project, monkeypatch):
    """A project with 24 prepared clips of 8 speakers; runs its stages."""
    write_clips(project)
    for kind, folder in (("faces", layout.faces_folder("toy")), ("audio", layout.audio_folder("toy"))):
        folder.parent.mkdir(parents=True)
        (project / kind).rename(folder)
    speakers = [index // 3 for index in range(24)]
    manifest = pd.DataFrame({"clip_id": CLIP_IDS, "label": CLASSES, "status": "ok"})
    manifest = manifest.assign(subject=[f"s{s}" for s in speakers], test_fold=[s % 2 + 1 for s in speakers])
    write_manifest(layout.manifest_file("toy"), manifest.reindex(columns=list(MANIFEST_COLUMNS)))

    def run(selection):
        training = {"init": "scratch", "selection": selection, "validation_fraction": 0.3, "epochs": 2}
        values = {**PARAMS, "folds": {"toy": [1, 2]}, "summarise": {"bootstrap_samples": 100}}
        values["finetune"] = {**PARAMS["finetune"], **training, "augmentation": NO_AUGMENTATION}
        (project / "params.yaml").write_text(yaml.safe_dump(values))
        for stage in ("finetune", "evaluate"):
            for fold in (1, 2):
                importlib.import_module(f"stages.{stage}").main("toy", fold)
        importlib.import_module("stages.summarise").main("toy")
        return project

    return run


def test_a_temperature_is_fitted_on_held_out_speakers_and_reported(study, hicmae, capfd):
    project = study("validation")
    capfd.readouterr()
    paths = [layout.finetune_folder("toy", fold) / "model.safetensors" for fold in (1, 2)]
    temperatures = [read_metadata(path)["temperatures"][0] for path in paths]
    history = pd.read_csv(paths[0].with_name("history.csv"))
    assert temperatures[0] == pytest.approx(history["validation_temperature"][read_metadata(paths[0])["epoch"]])
    levels = read_metadata(paths[0])["abstention_levels"]
    war = history["validation_war"][read_metadata(paths[0])["epoch"]]
    assert levels[-1][1] == pytest.approx(1 - war)
    assert all(1 / 3 <= level <= 1 for level, _ in levels)
    record = json.loads((project / "reports/toy/calibration.json").read_text())
    assert record["classes"]["temperature_by_fold"] == {"1": temperatures[0], "2": temperatures[1]}

    picture_of_stage = (project / "reports/toy/reliability.png").read_bytes()
    result = hicmae("calibrate", "toy", cwd=project)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("expected calibration error") == 2
    assert f"fold 2 {temperatures[1]:.2f}" in result.stdout
    assert (project / "reports/toy/reliability.png").read_bytes() == picture_of_stage

    hicmae("export", paths[0], "--out", "shared", cwd=project)
    card = (project / "shared/README.md").read_text()
    error = record["classes"]["with each fold's temperature"]["expected_calibration_error"]
    for words in (
        f"probabilities by {temperatures[0]:.3f}",
        f"{100 * error:.1f} %",
        "Fine-tuning: ",
        "label_smoothing 0",
    ):
        assert words in card


def test_without_held_out_speakers_there_is_none_and_that_is_said(study, hicmae, capfd):
    project = study("last")
    capfd.readouterr()
    assert "temperatures" not in read_metadata(layout.finetune_folder("toy", 1) / "model.safetensors")
    result = hicmae("calibrate", "toy", cwd=project)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("expected calibration error") == 1
    assert "no temperature: no speakers were held out" in result.stdout
    assert "no dataset `tyo` among the `folds`" in hicmae("calibrate", "tyo", cwd=project).stderr

    result = hicmae("map", "toy", cwd=project)
    assert result.returncode == 0, result.stderr
    assert "features.png: 12 clips" in result.stdout
    width, height = Image.open(project / "reports/toy/features.png").size
    assert width > 2 * height  # by class, and by speaker
    result = hicmae("map", "toy", "--fold", "2", "--all-clips", "--out", "all.png", cwd=project)
    assert result.stdout.startswith("all.png: 24 clips")


def test_answers_use_the_temperature_and_say_so(hicmae, folder, tmp_path):
    model, metadata = load_classifier(folder / "model.safetensors")
    model.head.weight.data *= 1000
    film = write_film(tmp_path / "film.mp4", [picture([(160, 120, 90)])] * 50, tone(2.0))
    odds = {}
    for name, temperatures in (("plain", {}), ("cooled", {"temperatures": [2.5]})):
        path = tmp_path / name / "model.safetensors"
        save_model(path, model, metadata | temperatures)
        (record,) = json.loads(hicmae("predict", film, "--model", path, "--json").stdout)
        assert record["calibrated"] == bool(temperatures)
        odds[name] = math.log(record["probabilities"]["sad"] / record["probabilities"]["glad"])
        said = hicmae("predict", film, "--model", path).stdout
        assert said.endswith(f"probabilities: {'' if temperatures else 'not '}calibrated\n")
    assert abs(odds["plain"]) > 0.1
    assert odds["plain"] == pytest.approx(2.5 * odds["cooled"])
    hicmae("predict", film, "--model", path, "--csv", tmp_path / "out.csv")
    assert list(pd.read_csv(tmp_path / "out.csv")["calibrated"]) == [True] * 4
