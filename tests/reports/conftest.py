"""A small prepared dataset with copies, leaks and rejected clips, laid out as a user's project."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import yaml

from hicmae import layout
from hicmae_core.config import DatasetParams, Params, load_params
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from hicmae_core.preparation.preparing import prepare_audio, prepare_faces
from hicmae_core.store.manifest import read_manifest, write_manifest
from hicmae_core.store.shards import ClipStore
from tests.media.films import background, talking_head, tone, write_film

NUM_FRAMES = 20
SECONDS = NUM_FRAMES / 25

CLIPS = """
clip_id    video          subject fold label
anna-1     anna-1.mp4     anna    1    calm
anna-2     anna-2.mp4     anna    1    angry
anna-mute  anna-mute.mp4  anna    1    calm
bert-1     bert-1.mp4     bert    2    calm
bert-2     bert-2.mp4     bert    2    angry
bert-mute  bert-mute.mp4  bert    2    angry
bert-copy  bert-copy.mp4  bert    2    calm
bert-mkv   bert-mkv.mkv   bert    2    angry
nobody     nobody.mp4     bert    2    calm
no-sound   no-sound.mp4   bert    2    angry
<b>empty   empty.mp4      bert    2    calm
"""


@dataclass(frozen=True)
class Prepared:
    """A project folder with the dataset ``mine``."""

    folder: Path

    @property
    def params(self) -> Params:
        return load_params(self.folder / "params.yaml")

    @property
    def dataset(self) -> DatasetParams:
        return self.params.dataset["mine"]

    @property
    def manifest(self) -> pd.DataFrame:
        return read_manifest(self.folder / layout.manifest_file("mine"))

    @property
    def root(self) -> Path:
        return self.folder / layout.raw_folder("mine")

    @property
    def faces(self) -> ClipStore:
        return ClipStore(self.folder / layout.faces_folder("mine"))

    @property
    def audio(self) -> ClipStore:
        return ClipStore(self.folder / layout.audio_folder("mine"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """``bert-copy`` is anna-1's file, ``bert-mkv`` has bert-1's streams; the mute ones are silent for equally long."""
    project = Prepared(tmp_path_factory.mktemp("quality"))
    project.root.mkdir(parents=True)
    write_films(project.root)
    rows = [line.split() for line in CLIPS.strip().splitlines()]
    pd.DataFrame(rows[1:], columns=rows[0]).to_csv(project.root / "manifest.csv", index=False)
    dataset = {"corpus": "csv", "classes": ["angry", "calm"], "num_folds": 2}
    values = {
        "folds": {"mine": [1, 2]},
        "dataset": {"mine": dataset},
        "pretrain": {"dataset": "mine"},
        "preparation": {"max_reject_fraction": 0.5, "num_shards": 2},
        "faces": {"detect_size": 256, "size": 64},
    }
    (project.folder / "params.yaml").write_text(yaml.safe_dump(values))
    params, out = project.params, project.folder
    manifest = build_manifest("mine", project.dataset, project.root, probe, 1, 0.5)
    write_manifest(out / layout.manifest_file("mine"), manifest)
    settings = params.preparation
    faces, audio = out / layout.faces_folder("mine"), out / layout.audio_folder("mine")
    prepare_faces(manifest, project.root, faces, out / "faces", params.faces, "single", settings, run=here)
    prepare_audio(manifest, project.root, audio, out / "audio", settings, run=here)
    return project


def here(work, clips):
    """Prepare the clips in this process."""
    return map(work, clips)


def write_films(root: Path) -> None:
    frames, _ = talking_head(60)
    silence = np.zeros(round(SECONDS * 44_100), np.float32)
    for start, name, hertz in ((0, "anna-1", 200), (5, "anna-2", 290), (10, "bert-1", 380), (15, "bert-2", 470)):
        write_film(root / f"{name}.mp4", frames[start : start + NUM_FRAMES], tone(SECONDS, hertz=hertz))
    for start, name in ((20, "anna-mute"), (25, "bert-mute")):
        write_film(root / f"{name}.mp4", frames[start : start + NUM_FRAMES], silence)
    shutil.copy(root / "anna-1.mp4", root / "bert-copy.mp4")
    remux(root / "bert-1.mp4", root / "bert-mkv.mkv")
    write_film(root / "nobody.mp4", [background()] * NUM_FRAMES, tone(SECONDS))
    write_film(root / "no-sound.mp4", frames[30 : 30 + NUM_FRAMES])
    (root / "empty.mp4").touch()


def remux(source: Path, target: Path) -> None:
    """Put the same packets into another container."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for stream in old.streams:
            streams[stream.index].time_base = stream.time_base
        new.streams.video[0].codec_context.framerate = old.streams.video[0].average_rate
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
