"""What goes to a DVC remote, an S3 bucket and a folder, and what a fresh clone gets back."""

import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from benchmarks.graph import LICENSED, make_project

BUCKET = "results"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def run(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", *arguments)


@pytest.mark.slow
def test_models_and_reports_travel_and_licensed_data_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        bucket = boto3.resource("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
        here = tmp_path / "here"
        here.mkdir()
        make_project(here, lambda values: values.update(folds={"demo": [1, 2]}))
        dvc(here, "repro", "--quiet")
        dvc(here, "remote", "add", "--quiet", "--default", "store", f"s3://{BUCKET}/dvc")
        dvc(here, "remote", "modify", "--quiet", "store", "endpointurl", address)
        dvc(here, "push", "--quiet")
        dvc(here, "remote", "add", "--quiet", "folder", str(tmp_path / "shared"))
        dvc(here, "push", "--quiet", "--remote", "folder")

        arrived = [stored.get()["Body"].read().decode() for stored in bucket.objects.all()]
        assert any(text.startswith("models/finetune/demo/1/model.safetensors") for text in arrived)
        assert any(text.startswith("reports/demo/results.md") for text in arrived)
        assert [text for text in arrived if LICENSED in text] == []
        copied = [path.read_text() for path in (tmp_path / "shared").rglob("*") if path.is_file()]
        assert sorted(copied) == sorted(arrived)
        assert LICENSED in (here / "data/faces/demo/part").read_text()

        run(here, "git", "add", "-A")
        run(here, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "results")
        for remote in ("store", "folder"):
            clone = tmp_path / remote
            run(tmp_path, "git", "clone", "-q", str(here), str(clone))
            dvc(clone, "pull", "--quiet", "--allow-missing", "--remote", remote)
            for name in ("models/finetune/demo/2/model.safetensors", "reports/demo/results.md"):
                assert (clone / name).read_text() == (here / name).read_text()
            assert not (clone / "data/faces/demo/part").exists()
            assert "Running stage" not in dvc(clone, "repro", "--dry", "--allow-missing")
    finally:
        server.stop()
