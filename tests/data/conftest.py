"""A small prepared dataset: JPEG faces and log-mel features of made-up clips."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from hicmae_core.config import ModelParams
from hicmae_core.data.clips import ClipDataset
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore

FACE_SIZE = 48
MODEL = ModelParams(size="demo", image_size=32, num_frames=4, frame_stride=2, num_audio_frames=32)


def face_jpegs(num_frames, generator, size=FACE_SIZE):
    """Smooth random images, so that JPEG keeps them apart."""
    coarse = torch.rand(num_frames, 3, 4, 4, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return [jpeg((255 * picture).permute(1, 2, 0).numpy().astype(np.uint8)) for picture in pictures]


def jpeg(picture):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> ClipDataset:
    """Ten clips of 3 to 21 frames, 25 fps, with class labels."""
    folder = tmp_path_factory.mktemp("clips")
    generator = torch.Generator().manual_seed(0)
    faces, audio = [], []
    for i in range(10):
        num_frames = 3 + 2 * i
        num_samples = num_frames * 640
        fbank = torch.randn(1 + (num_samples - 400) // 160, 128, generator=generator).numpy()
        faces.append({"clip_id": f"c{i}", "fps": 25.0, "frames": face_jpegs(num_frames, generator)})
        audio.append({"clip_id": f"c{i}", "num_samples": num_samples, "fbank": fbank})
    write_shards(folder / "faces", faces, FACES_SCHEMA, num_shards=2)
    write_shards(folder / "audio", audio, AUDIO_SCHEMA, num_shards=2)
    stores = ClipStore(folder / "faces"), ClipStore(folder / "audio")
    return ClipDataset(*stores, [f"c{i}" for i in range(10)], np.arange(10) % 3, MODEL)
