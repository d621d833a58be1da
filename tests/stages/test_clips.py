"""The samples that training and evaluation see: usable faces with a usable audio, labelled by their clip."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hicmae import layout
from hicmae.prepared import PreparedDataset
from hicmae_core.config import load_params
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.manifest import MANIFEST_COLUMNS, write_manifest
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA
from tests.conftest import ROOT


def jpeg(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (grey, grey, grey)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedDataset:
    """Clip b shows two faces one after the other, c has no face, d no audio."""
    monkeypatch.chdir(tmp_path)
    manifest = pd.DataFrame({"clip_id": list("abcd"), "subject": ["s1", "s2", "s3", "s4"], "status": "ok"})
    write_manifest(layout.manifest_file("demo_unlabelled"), manifest.reindex(columns=list(MANIFEST_COLUMNS)))
    samples = [("a", "a", 0.0), ("b#1", "b", 0.0), ("b#2", "b", 1.0), ("d", "d", 0.0)]
    faces = [
        {"clip_id": sample, "source": source, "start_seconds": start, "fps": 25.0, "frames": [jpeg(index)] * 25}
        for index, (sample, source, start) in enumerate(samples)
    ]
    faces.append({"clip_id": "c", "source": "c", "status": "no_face", "reason": "no face"})
    fbank = np.repeat(np.arange(198, dtype=np.float16)[:, None], 128, axis=1)
    audio = [{"clip_id": clip, "num_samples": 32_000, "fbank": fbank} for clip in "abc"]
    audio.append({"clip_id": "d", "status": "no_sound", "reason": "no sound"})
    write_shards(layout.faces_folder("demo_unlabelled"), faces, FACES_SCHEMA, num_shards=1)
    write_shards(layout.audio_folder("demo_unlabelled"), audio, AUDIO_SCHEMA, num_shards=1)
    return PreparedDataset(load_params(ROOT / "params.yaml"), "demo_unlabelled")


def test_each_face_of_a_clip_is_a_sample_with_the_clip_s_labels(prepared: PreparedDataset) -> None:
    assert prepared.manifest["clip_id"].tolist() == ["a", "b#1", "b#2"]
    assert prepared.manifest["subject"].tolist() == ["s1", "s2", "s2"]
    assert list(prepared.manifest) == list(MANIFEST_COLUMNS)


def test_a_sample_is_heard_where_it_is_seen(prepared: PreparedDataset) -> None:
    clips = prepared.clips(list(prepared.manifest["clip_id"]))
    heard = [clips.test_item(index, 1)[1][0] for index in (1, 2)]
    assert heard[1][0, 0] > heard[0][0, 0]  # the log-mel rises with time


def test_what_is_not_wanted_is_not_read(prepared: PreparedDataset) -> None:
    frames, audio = prepared.clips(["a"], "audio").test_item(0, 1)
    assert (frames.shape[1], audio.shape[1]) == (0, prepared.clips(["a"]).model.num_audio_frames)
