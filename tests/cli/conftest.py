"""Running `hicmae` as its console script does, in this process: a process of its own takes seconds to import torch."""

import subprocess
import sys

import pytest
import torch

from hicmae.cli.app import main
from hicmae_core.model.artifact import save_model
from hicmae_core.model.sizes import classifier
from tests.media.films import picture, tone, write_film


@pytest.fixture
def hicmae(monkeypatch, capfd):
    """Run the console script in a folder."""

    def run(*arguments, cwd="."):
        command = ["hicmae", *map(str, arguments)]
        with monkeypatch.context() as context:
            context.chdir(cwd)
            context.setattr(sys, "argv", command)
            context.setenv("COLUMNS", "120")
            with pytest.raises(SystemExit) as end:
                main()
        output = capfd.readouterr()
        return subprocess.CompletedProcess(command, end.value.code or 0, output.out, output.err)

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and two videos, outside any project."""
    folder = tmp_path_factory.mktemp("films")
    torch.manual_seed(0)
    model = classifier("demo", 2, image_size=32, num_frames=4, num_audio_frames=32)
    faces = {"detector": "none", "size": 48}
    save_model(
        folder / "model.safetensors",
        model,
        {"classes": ["sad", "glad"], "targets": [], "frame_stride": 4, "usual_fps": 25.0, "faces": faces},
    )
    for name in ("one.mp4", "two [1].mp4"):
        write_film(folder / name, [picture([(160, 120, 90)])] * 50, tone(2.0))
    return folder
