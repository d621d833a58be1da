"""From results to their data, and from a clip to its results."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hicmae import layout
from hicmae.cli import lineage
from hicmae.tracking.lineage import origin, uses
from hicmae.tracking.stage_runs import track
from hicmae.tracking.store import MlflowStore
from hicmae_core.files import sha256_of, write_json
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.manifest import MANIFEST_COLUMNS, write_manifest
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA
from tests.tracking.tracked import PARAMS


@pytest.fixture
def store(project: Path) -> MlflowStore:
    """A store of a project whose manifests have two clips each."""
    for name, clips in (("demo", ["a", "b"]), ("demo_unlabelled", ["u", "v"])):
        manifest = pd.DataFrame({"clip_id": clips, "test_fold": [1, 2]}).reindex(columns=list(MANIFEST_COLUMNS))
        manifest.to_parquet(project / "data" / "manifests" / f"{name}.parquet")
    return MlflowStore(project)


@pytest.fixture
def prepared_people(store: MlflowStore) -> list[str]:
    """Ids of a prepared demo's clips: four people, a test fold each, two clips of each class of each."""
    people = [(person, label, take) for person in range(4) for label in range(4) for take in range(2)]
    clips = [f"s{person}_{label}_{take}" for person, label, take in people]
    manifest = pd.DataFrame(
        {
            "clip_id": clips,
            "subject": [f"s{person}" for person, _, _ in people],
            "label": [label for _, label, _ in people],
            "test_fold": [person + 1 for person, _, _ in people],
            "status": "ok",
        }
    )
    write_manifest(layout.manifest_file("demo"), manifest.reindex(columns=list(MANIFEST_COLUMNS)))
    faces = [{"clip_id": clip, "source": clip, "start_seconds": 0.0, "fps": 25.0, "frames": [b""]} for clip in clips]
    sound = np.zeros((2, 128), dtype=np.float16)
    audio = [{"clip_id": clip, "num_samples": 320, "fbank": sound} for clip in clips]
    write_shards(layout.faces_folder("demo"), faces, FACES_SCHEMA, num_shards=1)
    write_shards(layout.audio_folder("demo"), audio, AUDIO_SCHEMA, num_shards=1)
    return clips


def test_a_run_leads_to_its_data_and_pretraining(store: MlflowStore) -> None:
    with track("pretrain", PARAMS) as before:
        pass
    with track("finetune", PARAMS, "demo", 1, "mark") as tracker:
        pass
    found = origin(store, tracker.run_id)
    assert found["pretraining"]["run_id"] == before.run_id
    assert found["manifests"] == {"demo": sha256_of(store.root / "data" / "manifests" / "demo.parquet")}
    assert (found["fold"], found["training_fingerprint"]) == ("1", "mark")
    assert json.loads(json.dumps(found))["params"]["model.size"] == "demo"
    with pytest.raises(ValueError, match="no run `nothing`"):
        origin(store, "nothing")


def test_the_command_prints_columns_or_json(store: MlflowStore, capsys: pytest.CaptureFixture[str]) -> None:
    (store.root / "params.yaml").write_text(yaml.safe_dump(PARAMS.model_dump(mode="json")))
    with track("finetune", PARAMS, "demo", 1) as tracker:
        pass
    capsys.readouterr()
    lineage.main(tracker.run_id)
    lines = (line.partition(" ") for line in capsys.readouterr().out.splitlines())
    printed = {name: value.strip() for name, _, value in lines}
    assert (printed["run_id"], printed["run"], printed["stage"]) == (tracker.run_id, "fold 1", "finetune")
    lineage.main(tracker.run_id, as_json=True)
    assert json.loads(capsys.readouterr().out)["params"]["model.size"] == "demo"
    lineage.main(clip="u")
    header, _, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "what"
    assert first.startswith("data/manifests/demo_unlabelled.parquet  ")
    for mistake in ({}, {"result": tracker.run_id, "clip": "u"}):
        with pytest.raises(ValueError, match="trace what"):
            lineage.main(**mistake)


def test_a_file_leads_to_the_run_that_logged_it_wherever_it_is(store: MlflowStore, tmp_path: Path) -> None:
    with track("finetune", PARAMS, "demo", 2) as trained:
        write_json(store.root / "metrics.json", {"pooled": {"uar": 0.25, "best": True}})
        trained.log_artifact(store.root / "metrics.json")
        (store.root / "model.safetensors").write_bytes(b"weights")
        trained.log_artifact(store.root / "model.safetensors")
    copy = (store.root / "model.safetensors").rename(tmp_path / "mine.safetensors")
    assert origin(store, str(copy))["run_id"] == trained.run_id
    number = origin(store, f"{store.root / 'metrics.json'}:pooled.uar")
    assert (number["value"], number["run_id"], number["fold"]) == (0.25, trained.run_id, "2")
    assert number["environment"]["finetune"]["torch"]
    with track("finetune", PARAMS, "demo", 2, "again") as later:
        later.log_artifact(store.root / "metrics.json")
    again = origin(store, str(store.root / "metrics.json"))
    assert (again["run_id"], again["same_bytes_in_runs"]) == (later.run_id, [trained.run_id])
    copy.write_bytes(b"other weights")
    for name, complaint in {
        str(copy): "a file .* that no run in MLflow at .* has logged",
        f"{store.root / 'metrics.json'}:pooled.war": "no `war` among uar, best",
        f"{store.root / 'metrics.json'}:pooled.best": "`pooled.best` is no number",
        "results/nowhere.parquet": "results/nowhere.parquet: no such file",
    }.items():
        with pytest.raises(ValueError, match=complaint):
            origin(store, name)


def test_answers_lead_to_the_model_that_gave_them(store: MlflowStore, tmp_path: Path) -> None:
    (store.root / "model.safetensors").write_bytes(b"weights")
    digest = sha256_of(store.root / "model.safetensors")
    with track("finetune", PARAMS, "demo", 2) as trained:
        trained.log_artifact(store.root / "model.safetensors")
    answers = pd.DataFrame({"video": ["a.mp4", "b.mp4"], "model_sha256": [digest, digest]})
    answers.to_csv(tmp_path / "answers.csv", index=False)
    answers.to_json(tmp_path / "answers.json", orient="records")
    answers.to_json(tmp_path / "answers.jsonl", orient="records", lines=True)
    answers.to_parquet(tmp_path / "features.parquet")
    for name in ("answers.csv", "answers.json", "answers.jsonl", "features.parquet"):
        assert origin(store, str(tmp_path / name))["run_id"] == trained.run_id, name
    for digests, complaint in (
        ([digest, "0f"], "predictions of several models .*0f"),
        (["0f", "0f"], "a model .*0f.* that no"),
    ):
        answers.assign(model_sha256=digests).to_csv(tmp_path / "answers.csv", index=False)
        with pytest.raises(ValueError, match=complaint):
            origin(store, str(tmp_path / "answers.csv"))


def test_the_roles_of_training_clips_are_told_apart(store: MlflowStore, prepared_people: list[str]) -> None:
    tuned = PARAMS.finetune.model_copy(update={"selection": "validation", "validation_fraction": 0.34})
    params = PARAMS.model_copy(update={"finetune": tuned})
    roles = {}
    for clip in prepared_people:
        found = {row["what"]: row["role"] for row in uses(store, params, clip)}
        roles[clip] = found["finetune@demo-1, evaluate@demo-1"]
    held_out = {clip for clip, role in roles.items() if role == "validated on"}
    assert {clip.partition("_")[0] for clip, role in roles.items() if role == "tested in"} == {"s0"}
    assert len({clip.partition("_")[0] for clip in held_out}) == 1
    assert set(roles.values()) == {"tested in", "validated on", "trained on"}

    few = params.model_copy(update={"finetune": tuned.model_copy(update={"label_fraction": 0.5})})
    fewer = {clip: {row["what"]: row["role"] for row in uses(store, few, clip)} for clip in prepared_people}
    left_out = [clip for clip, found in fewer.items() if found["finetune@demo-1, evaluate@demo-1"] == "left out"]
    assert len(left_out) == 8
    assert not held_out & set(left_out)


def test_frames_lead_to_the_video_that_they_were_taken_from(store: MlflowStore) -> None:
    path = store.root / layout.manifest_file("demo")
    files = {"video_path": "frames/a", "audio_path": "wav/a.wav"}
    manifest = pd.DataFrame([{"clip_id": "a", "test_fold": 1, **files}]).reindex(columns=list(MANIFEST_COLUMNS))
    manifest.to_parquet(path)
    assert uses(store, PARAMS, "a")[0]["when withdrawn"].startswith(
        "delete data/raw/demo/frames/a and data/raw/demo/wav/a.wav, then"
    )
    (store.root / "data/raw/demo/frames/a").mkdir(parents=True)
    assert uses(store, PARAMS, "a")[0]["when withdrawn"].startswith(
        "delete data/raw/demo/frames/a and data/raw/demo/wav/a.wav, and the video file that the frames were taken from,"
    )


def test_a_clip_leads_to_all_that_depends_on_it(store: MlflowStore) -> None:
    roles = {row["what"]: row["role"] for row in uses(store, PARAMS, "a")}
    assert roles["finetune@demo-1, evaluate@demo-1"] == "tested in"
    assert roles["finetune@demo-2, evaluate@demo-2"] == "trained or validated on"
    assert "pretrain" not in roles
    assert "pretrain" in {row["what"] for row in uses(store, PARAMS, "u")}
    with pytest.raises(ValueError, match="no manifest has a clip `z`"):
        uses(store, PARAMS, "z")
