"""How fast clips are read and augmented for training, against the plain way, in one process and one thread.

The plain way takes each frame through Pillow, timm and torchvision, and computes log-mel features from the waveform
when they are wanted. Both arms make the same batch, 160 x 160 pixels from stored crops of 256 x 256, in turns, so the
ratio holds on a busy machine, too.
"""

from __future__ import annotations

import io
import random
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.functional import hflip, normalize, resized_crop, to_tensor

from hicmae.command import run
from hicmae_core.config import AugmentationParams, FacesParams, ModelParams
from hicmae_core.data.augmentation import IMAGENET_MEAN, IMAGENET_STD, audio_gain, finetuning_augmentation
from hicmae_core.data.batches import training_batches
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.data.sampling import random_window
from hicmae_core.data.tensors import normalise
from hicmae_core.media.decoding import read_audio
from hicmae_core.media.detection import make_detector
from hicmae_core.media.faces import extract_face
from hicmae_core.media.waveform import log_mel
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore

DEMO = Path("data/raw/demo")
MODEL = ModelParams()
AUGMENTATION = AugmentationParams()
BATCH_SIZE = 8
Waveforms = dict[str, np.ndarray]


def prepare(videos: list[Path], folder: Path) -> tuple[ClipDataset, Waveforms]:
    """Shards of the videos, each often enough for two batches, and their audio."""
    faces = FacesParams(size=256)
    detector = make_detector(faces, "cpu")
    seen, heard, waveforms = [], [], {}
    for video in videos:
        track = extract_face(video, faces, detector)
        if not track.usable:
            continue
        waveform = read_audio(video)
        for copy in range(-(-2 * BATCH_SIZE // len(videos))):
            clip_id = f"{video.stem}-{copy}"
            waveforms[clip_id] = waveform
            seen.append({"clip_id": clip_id, "fps": track.fps, "frames": track.frames})
            heard.append({"clip_id": clip_id, "num_samples": len(waveform), "fbank": log_mel(waveform)})
    if not seen:
        raise ValueError("none of the clips shows a face; give others with --clip")
    write_shards(folder / "faces", seen, FACES_SCHEMA, num_shards=1)
    write_shards(folder / "audio", heard, AUDIO_SCHEMA, num_shards=1)
    stores = ClipStore(folder / "faces"), ClipStore(folder / "audio")
    return ClipDataset(*stores, sorted(waveforms), None, MODEL), waveforms


class PlainWay:
    """Frame by frame, as image pipelines do it."""

    def __init__(self) -> None:
        settings = AUGMENTATION
        name = f"rand-m{settings.randaugment_magnitude:g}-n{settings.randaugment_num_ops}-mstd0.5-inc1"
        self.operations = rand_augment_transform(name, {"translate_const": 100, "img_mean": (128, 128, 128)})
        self.erasing = RandomErasing(settings.erasing, mode="pixel", device="cpu")

    def clip(self, jpegs: Any, waveform: np.ndarray, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A random window of a clip as the model's inputs."""
        window = random_window(len(jpegs), len(waveform), MODEL.num_frames, MODEL.frame_stride, generator)
        seed = int(generator.integers(2**31))
        video = torch.stack([self.frame(jpegs[int(index)].as_py(), seed) for index in window.frames], dim=1)
        gain = np.float32(generator.beta(10, 10) + 0.5)
        features = log_mel(waveform[window.audio_start : window.audio_end] * gain)[: MODEL.num_audio_frames]
        padded = torch.zeros(MODEL.num_audio_frames, features.shape[1])
        padded[: len(features)] = torch.from_numpy(features)
        return video, normalise(padded)[None]

    def frame(self, jpeg: bytes, seed: int) -> Tensor:
        """One frame; the seed makes all of a clip alike."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (timm draws from it)
        torch.manual_seed(seed)
        picture = self.operations(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        box = RandomResizedCrop.get_params(picture, list(AUGMENTATION.crop_scale), list(AUGMENTATION.crop_ratio))
        picture = resized_crop(picture, *box, [MODEL.image_size] * 2)
        if random.random() < 0.5:
            picture = hflip(picture)
        return self.erasing(normalize(to_tensor(picture), IMAGENET_MEAN, IMAGENET_STD))


def plain_seconds(clips: ClipDataset, waveforms: Waveforms, way: PlainWay, epoch: int) -> float:
    """CPU-seconds for all clips, in batches."""
    generator = np.random.default_rng(epoch)
    start = time.process_time()
    for first in range(0, len(clips), BATCH_SIZE):
        ids = clips.clip_ids[first : first + BATCH_SIZE]
        pairs = [way.clip(clips.faces[i]["frames"], waveforms[i], generator) for i in ids]
        for parts in zip(*pairs, strict=True):
            torch.stack(parts)
    return time.process_time() - start


def our_seconds(clips: ClipDataset, epoch: int) -> tuple[float, float]:
    """CPU-seconds for all clips: reading, and with augmentation."""
    generator = torch.Generator().manual_seed(epoch)
    start = time.process_time()
    batches = training_batches(clips, BATCH_SIZE, seed=epoch, num_epochs=1, num_workers=0, drop_last=False)
    reading = 0.0
    while batch := _timed_next(batches):
        reading += batch[1]
        finetuning_augmentation(batch[0].frames, AUGMENTATION, MODEL.image_size, generator)
        audio_gain(batch[0].audio, generator)
    return reading, time.process_time() - start


def _timed_next(batches: Any) -> tuple[Batch, float] | None:
    start = time.process_time()
    batch = next(batches, None)
    return None if batch is None else (batch, time.process_time() - start)


def main(
    clip: Annotated[
        list[Path] | None,
        typer.Option(help="Video files.", metavar="FILE...", show_default="the first of data/raw/demo"),
    ] = None,
    num_rounds: Annotated[int, typer.Option(help="Rounds of both arms in turns.")] = 9,
) -> None:
    """Measure and print."""
    videos = clip or sorted(DEMO.rglob("*.mp4"))[: 2 * BATCH_SIZE]
    if not videos:
        raise ValueError(f"no videos under {DEMO}: run `make demo` first, or give --clip")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clips, waveforms = prepare(videos, Path(folder))
        way = PlainWay()
        rounds = [
            (plain_seconds(clips, waveforms, way, epoch), *our_seconds(clips, epoch)) for epoch in range(num_rounds + 1)
        ][1:]  # the first one warms up
    plain, reading, ours = np.array(rounds).T
    rates = [len(clips) / np.median(seconds) for seconds in (plain, reading, ours)]
    print(f"{len(clips)} clips of {len(videos)} videos, {len(rounds)} rounds, one thread; medians")
    print(f"reading, shards to a batch of uint8 frames and log-mel: {rates[1]:.0f} clips per CPU-second")
    print(f"with augmentation: {rates[2]:.0f}, plain {rates[0]:.0f}: ratio {np.median(plain / ours):.1f}")


if __name__ == "__main__":
    run(main, "python -m benchmarks.loader", __doc__)
