import json
import os
import platform
import signal
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from PIL import Image

from hicmae import environment
from hicmae.layout import project_root
from hicmae.tracking import provenance
from hicmae.tracking.stage_runs import download_model, track
from hicmae_core.config import Params
from hicmae_core.files import sha256_of
from hicmae_core.runtime import Interrupted
from hicmae_core.training.tracker import NullTracker
from tests.tracking.tracked import PARAMS, client_of, runs_of, start_fold, steps_of


def changed(section: str, **values: object) -> Params:
    return PARAMS.model_copy(update={section: getattr(PARAMS, section).model_copy(update=values)})


def test_a_run_carries_parameters_tags_data_and_system_metrics(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
    with track("finetune", PARAMS, "demo", 2) as tracker:
        tracker.log_metrics({"train/lr": 0.25}, step=0)
        time.sleep(2.5)

    run = runs_of(project)["fold 2"]
    assert run.data.params["finetune.augmentation.mixup"] == str(PARAMS.finetune.augmentation.mixup)
    assert run.data.params["dataset.classes"] == '["anger", "happiness", "neutral", "sadness"]'
    assert run.data.params["model.size"] == "demo"
    tags = run.data.tags
    assert (tags["dataset"], tags["fold"], tags["stage"], tags["seed"]) == ("demo", "2", "finetune", "0")
    about = json.loads(tags["environment.finetune"])
    assert (about["python"], about["torch"]) == (platform.python_version(), version("torch"))
    packages = project / "mlartifacts" / run.info.run_id / "artifacts" / "environment" / "finetune.txt"
    assert about["packages_sha256"] == sha256_of(packages)
    assert f"mlflow=={version('mlflow')}" in packages.read_text().splitlines()
    (data,) = run.inputs.dataset_inputs
    manifest = project / "data" / "manifests" / "demo.parquet"
    assert data.dataset.name == "demo"
    assert sha256_of(manifest).startswith(data.dataset.digest)
    assert json.loads(data.dataset.source)["uri"] == "data/manifests/demo.parquet"  # wherever the project is moved
    assert run.data.metrics["train/lr"] == 0.25
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert 0 < run.data.metrics["system/system_memory_usage_percentage"] < 100


def test_a_run_carries_the_locks_of_all_folds_and_what_dvc_calls_its_data(project: Path) -> None:
    def tags() -> dict[str, str]:
        with track("evaluate", PARAMS, "demo", 1):
            pass
        return dict(runs_of(project)["fold 1"].data.tags)

    first = tags()
    assert json.loads(first["dvc_md5"])["data/faces/demo"] == ""
    outs = [{"path": "data/faces/demo", "hash": "md5", "md5": "abc.dir"}]
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"faces@demo": {"outs": outs}}}))
    second = tags()
    assert json.loads(second["dvc_md5"])["data/faces/demo"] == "abc.dir"
    (project / "folds" / "demo").mkdir(parents=True)
    (project / "folds" / "demo" / "dvc.lock").write_text("schema: '2.0'\n")
    third = tags()
    assert len({found["dvc_locks_sha256"] for found in (first, second, third)}) == 3
    assert tags()["dvc_locks_sha256"] == third["dvc_locks_sha256"]


def test_the_commit_is_tagged_and_marked_when_files_differ_from_it(project: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "dvc.yaml")
    git("commit", "-qm", "start")
    commit = git("rev-parse", "HEAD")
    with track("pretrain", PARAMS):
        pass
    assert runs_of(project, "pretraining")["demo_unlabelled demo"].data.tags["git_commit"] == commit
    (project / "dvc.yaml").write_text("stages: {} # changed\n")
    with track("finetune", PARAMS, "demo", 1):
        pass
    assert runs_of(project)["fold 1"].data.tags["git_commit"] == f"{commit}-dirty"


def test_a_killed_fold_goes_on_in_its_run_without_double_steps(project: Path) -> None:
    assert start_fold(1, "die").wait(120) == -signal.SIGKILL
    before = runs_of(project)["fold 1"]
    assert before.info.status == "RUNNING"

    with track("finetune", PARAMS, "demo", 1) as tracker:
        tracker.log_series("train/loss", [(step, 10.0) for step in range(1, 5)])
        tracker.log_metrics({"epoch/loss": 3.0}, step=0)
    run = runs_of(project)["fold 1"]
    assert run.info.run_id == before.info.run_id
    assert run.info.status == "FINISHED"
    expected = [(0, 1.0), (1, 0.5), (2, 1 / 3), (3, 10.0), (4, 10.0)]
    assert steps_of(project, run, "train/loss") == expected
    assert steps_of(project, run, "epoch/loss") == [(0, 3.0)]


def test_a_failure_is_on_the_run_and_its_parent_until_the_fold_succeeds(project: Path) -> None:
    with pytest.raises(ZeroDivisionError), track("finetune", PARAMS, "demo", 1):
        raise ZeroDivisionError
    assert {run.info.status for run in runs_of(project).values()} == {"FAILED"}
    with pytest.raises(KeyboardInterrupt), track("finetune", PARAMS, "demo", 1):
        raise KeyboardInterrupt
    assert runs_of(project)["fold 1"].info.status == "KILLED"
    with track("finetune", PARAMS, "demo", 1):
        pass
    assert {run.info.status for run in runs_of(project).values()} == {"FINISHED"}


def test_a_study_describes_itself_and_shows_its_folds_side_by_side(project: Path) -> None:
    with track("pretrain", PARAMS) as before:
        before.describe("| loss |")
    Image.new("RGB", (40, 30), "red").save(project / "confusion.png")
    for fold in (1, 2):
        with track("evaluate", PARAMS, "demo", fold) as tracker:
            tracker.log_image(project / "confusion.png")
    runs = runs_of(project)
    parent = runs["demo both pretrained, statistics"]
    for link in ("viewStateShareKey", "compare-runs", before.run_id):
        assert link in parent.data.tags["mlflow.note.content"], "before it is summarised"
    with track("summarise", PARAMS, "demo") as tracker:
        tracker.describe("| pooled | 50.0 |\n")
    note = runs_of(project)["demo both pretrained, statistics"].data.tags["mlflow.note.content"]
    assert note.startswith("[folds side by side](")
    assert note.endswith("\n\n| pooled | 50.0 |")
    for fold in ("fold 1", "fold 2"):
        assert runs[fold].info.run_id in note
        assert parent.info.run_id in runs[fold].data.tags["mlflow.note.content"]
        assert runs[fold].data.tags["mlflow.loggedImages"] == "True"
    assert runs_of(project, "pretraining")["demo_unlabelled demo"].data.tags["mlflow.note.content"] == "| loss |"

    client = client_of(project)
    views = [
        json.loads(value)["name"]
        for name in ("demo", "pretraining")
        for tag, value in client.get_experiment_by_name(name).tags.items()
        if tag.startswith("mlflow.sharedViewState.")
    ]
    assert sorted(views) == ["Folds of demo both pretrained, statistics", "Pre-trainings", "Studies"]
    assert parent.info.run_id in client.get_experiment_by_name("demo").tags["mlflow.note.content"]


def test_a_study_collects_all_its_stages_and_links_the_pretraining(project: Path) -> None:
    with track("pretrain", PARAMS) as tracker:
        pretraining_id = tracker.run_id
    with track("finetune", PARAMS, "demo", 1):
        pass
    picture = project / "confusion.png"
    picture.write_bytes(b"picture")
    with track("evaluate", PARAMS, "demo", 1) as tracker:
        tracker.log_metrics({"test/war": 0.5}, step=0)
        tracker.log_artifact(picture, "figures")
    with track("evaluate", PARAMS, "demo", 1) as tracker:
        tracker.log_metrics({"test/war": 0.75}, step=0)
    with track("summarise", PARAMS, "demo") as tracker:
        tracker.log_metrics({"test/war_mean": 0.75}, step=0)

    runs = runs_of(project)
    assert set(runs) == {"demo both pretrained, statistics", "fold 1"}
    fold, parent = runs["fold 1"], runs["demo both pretrained, statistics"]
    assert fold.data.tags["stage"] == "finetune, evaluate"
    assert fold.data.metrics["test/war"] == 0.75
    assert (project / "mlartifacts" / fold.info.run_id / "artifacts" / "figures" / "confusion.png").is_file()
    assert parent.data.metrics["test/war_mean"] == 0.75
    assert parent.info.status == "FINISHED"
    for run in (fold, parent):
        assert run.data.tags["pretraining_run_id"] == pretraining_id
        assert pretraining_id in run.data.tags["mlflow.note.content"]


def test_training_a_finished_fold_again_starts_a_new_run_and_keeps_the_old_one_readable(project: Path) -> None:
    for value in (1.0, 2.0):
        with track("finetune", PARAMS, "demo", 1) as tracker:
            tracker.log_metrics({"train/loss": value}, step=0)
    runs = runs_of(project)
    assert steps_of(project, runs["fold 1"], "train/loss") == [(0, 2.0)]
    assert steps_of(project, runs["fold 1 (superseded)"], "train/loss") == [(0, 1.0)]
    with track("evaluate", PARAMS, "demo", 1) as tracker:
        assert tracker.run_id == runs["fold 1"].info.run_id


def test_an_interrupted_fold_goes_on_in_its_run_unless_data_or_code_have_changed(project: Path) -> None:
    run_ids = []

    def train_and_be_interrupted(mark: str, value: float) -> None:
        with track("finetune", PARAMS, "demo", 1, mark) as tracker:
            tracker.log_series("train/loss", [(0, value), (int(value), value)])
            run_ids.append(tracker.run_id)
            raise Interrupted(signal.SIGTERM, "saved")

    for mark, value in (("same", 1.0), ("same", 2.0), ("other", 3.0)):
        with pytest.raises(Interrupted):
            train_and_be_interrupted(mark, value)
    runs = runs_of(project)
    assert {run.info.status for name, run in runs.items() if name.startswith("fold")} == {"KILLED"}
    assert run_ids == [runs["fold 1 (superseded)"].info.run_id] * 2 + [runs["fold 1"].info.run_id]
    assert steps_of(project, runs["fold 1 (superseded)"], "train/loss") == [(0, 1.0), (1, 1.0), (2, 2.0)]
    assert steps_of(project, runs["fold 1"], "train/loss") == [(0, 3.0), (3, 3.0)]


def test_a_model_comes_back_from_its_run(project: Path) -> None:
    model = project / "model.safetensors"
    model.write_bytes(b"weights")
    with track("finetune", PARAMS, "demo", 1) as tracker:
        tracker.log_artifact(model)
    assert download_model(tracker.run_id).read_bytes() == b"weights"
    with track("evaluate", PARAMS, "demo", 2) as tracker:
        pass
    for run_id in (tracker.run_id, "0" * 32, "nonsense"):
        with pytest.raises(ValueError, match=f"no model.safetensors in MLflow run `{run_id}`"):
            download_model(run_id)


def test_only_what_determines_the_result_makes_another_study() -> None:
    key = provenance.cross_validation(PARAMS, "demo").key
    assert key != provenance.cross_validation(changed("finetune", epochs=31), "demo").key
    assert key != provenance.cross_validation(changed("pretrain", epochs=77), "demo").key
    assert key == provenance.cross_validation(changed("compute", device="cpu"), "demo").key
    assert key == provenance.cross_validation(PARAMS.model_copy(update={"folds": {"demo": (1,)}}), "demo").key
    scratch = {"init": "scratch"}
    longer = changed("pretrain", epochs=77)
    alone = longer.model_copy(update={"finetune": longer.finetune.model_copy(update=scratch)})
    assert (
        provenance.cross_validation(changed("finetune", **scratch), "demo").key
        == provenance.cross_validation(alone, "demo").key
    )


def test_an_unknown_dataset_is_named() -> None:
    with pytest.raises(ValueError, match=r"no dataset `nowhere`.*demo_unlabelled"):
        provenance.cross_validation(PARAMS, "nowhere")


def test_only_the_first_process_of_a_distributed_training_tracks(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with track("finetune", PARAMS, "demo", 1) as tracker:
        assert isinstance(tracker, NullTracker)
    assert runs_of(project) == {}


def test_the_store_is_in_the_project_whatever_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(project / "data" / "manifests")
    assert project_root() == project
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with track("finetune", PARAMS, "demo", 1):
        pass
    assert "fold 1" in runs_of(project)
    assert list(Path.cwd().glob("ml*")) == []
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(ValueError, match=r"no dvc\.yaml"):
        project_root()


def test_nothing_phones_home_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "false")
    environment.prepare()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "false"


def test_any_target_gets_its_metrics_and_what_cannot_be_stored_costs_itself(
    project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    (tmp_path / "note.txt").write_text("note")
    names = ("pcc_arousal (1-9)", "pcc_激活", "pcc_a/b", "pcc_//c", "pcc_100%", "loss", "x" * 251, "nan")
    with track("evaluate", PARAMS, "demo", 1) as tracker:
        tracker.log_metrics({name: float(name) if name == "nan" else 0.5 for name in names}, step=0)
        tracker.tag({"a(b": "refused", "kept": "yes"})
        tracker.log_image(broken)
        tracker.log_artifact(tmp_path / "note.txt")
    run = runs_of(project)["fold 1"]
    logged = {name for name in run.data.metrics if not name.startswith("system/")}
    assert logged == {"pcc_arousal _1-9_", "pcc_激活", "pcc_a/b", "pcc___c", "pcc_100_", "loss", "nan"}
    assert run.data.tags["kept"] == "yes"
    assert (project / "mlartifacts" / run.info.run_id / "artifacts/note.txt").read_text() == "note"
    assert run.info.status == "FINISHED"
    told = [line for line in capfd.readouterr().err.splitlines() if "refuses" in line]
    assert len(told) == 3
    assert "tag 'a(b'" in told[1]
    assert "file 'broken.png'" in told[2]
