"""How much of the step rate is left when real clips are read: epochs from shards against epochs of one fixed batch.

Three arms of the real training, in turns, so that ratios hold on a busy machine, too: clips read from shards, and
augmented; one batch that is read once, augmented anew at every step; and inputs that are ready on the device, where a
step is the model, its losses and the optimizer alone. The first epoch of a training, when processes start and memory is
first touched, does not count. Shares of CPU-seconds, on one thread, say the same whatever else the machine does. Model
and clips have the size of the demo: 2.6 s of made-up crops of 80 x 80 pixels.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image

from hicmae.command import run
from hicmae_core.config import NUM_MEL_BINS, Params, load_params
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.finetuning import finetune
from hicmae_core.preparation.writing import write_shards
from hicmae_core.store.shards import AUDIO_SCHEMA, FACES_SCHEMA, ClipStore
from hicmae_core.training import pretrain
from hicmae_core.training.learner import Learner
from hicmae_core.training.loop import TrainSettings, TrainTask, train
from hicmae_core.training.tracker import NullTracker

DEMO = Path("params.yaml")
CROP_SIZE = 80
NUM_CLIPS = 96
Training = Callable[[Params, ClipDataset, Path], None]
Arm = Callable[[TrainTask, int], TrainTask]


@dataclass(frozen=True)
class OneBatch:
    """Stands for a dataset of `num_clips`, all of whose batches are the same one."""

    batch: Batch
    num_clips: int

    def __len__(self) -> int:
        return self.num_clips

    def training_batch(self, indices: Sequence[int], generators: Sequence[np.random.Generator]) -> Batch:
        """The batch, whatever is asked for."""
        return self.batch


class ReadyInputs:
    """The inputs of a task's first step, for all steps."""

    def __init__(self, task: TrainTask) -> None:
        self._task, self._inputs = task, None

    def __call__(self, batch: Batch, step: int, part: int) -> Any:
        if self._inputs is None:
            self._inputs = self._task.make_inputs(batch, step, part)
        return self._inputs


def real_clips(task: TrainTask, batch_size: int) -> TrainTask:
    """The task as it is."""
    return task


def one_batch(task: TrainTask, batch_size: int) -> TrainTask:
    """The task with one batch that is read once."""
    indices = range(batch_size)
    batch = task.clips.training_batch(indices, [np.random.default_rng(index) for index in indices])
    return replace(task, clips=OneBatch(batch, len(task.clips)))


def ready_inputs(task: TrainTask, batch_size: int) -> TrainTask:
    """The task with the inputs of one step."""
    return replace(one_batch(task, batch_size), make_inputs=ReadyInputs(task))


ARMS = (real_clips, one_batch, ready_inputs)


def made_up_clips(folder: Path, num_clips: int, params: Params) -> ClipDataset:
    """Clips of one window each, images that JPEG keeps apart, and noise for audio."""
    rng = np.random.default_rng(0)
    num_frames = params.model.num_frames * params.model.frame_stride
    faces, audio = [], []
    for number in range(num_clips):
        coarse = rng.integers(0, 256, (num_frames, CROP_SIZE // 4, CROP_SIZE // 4, 3), dtype=np.uint8)
        frames = [_jpeg(picture) for picture in coarse]
        fbank = rng.normal(-6, 2, (params.model.num_audio_frames, NUM_MEL_BINS)).astype(np.float16)
        faces.append({"clip_id": f"c{number}", "fps": 25.0, "frames": frames})
        audio.append({"clip_id": f"c{number}", "num_samples": num_frames * 640, "fbank": list(fbank)})
    write_shards(folder / "faces", faces, FACES_SCHEMA, num_shards=2)
    write_shards(folder / "audio", audio, AUDIO_SCHEMA, num_shards=2)
    labels = np.arange(num_clips, dtype=np.int64) % len(params.dataset["demo"].classes)
    stores = ClipStore(folder / "faces"), ClipStore(folder / "audio")
    return ClipDataset(*stores, [f"c{number}" for number in range(num_clips)], labels, params.model)


def _jpeg(coarse: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BILINEAR).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def pretraining(params: Params, clips: ClipDataset, folder: Path) -> None:
    """Pre-train into `folder`."""
    settings = TrainSettings.of(params, params.pretrain)
    pretrain.run_pretraining(settings, clips, folder, folder / "checkpoints", NullTracker())


def finetuning(params: Params, clips: ClipDataset, folder: Path) -> None:
    """Fine-tune from random weights into `folder`."""
    out, checkpoints = folder / "model.safetensors", folder / "checkpoints"
    settings, dataset = TrainSettings.of(params, params.finetune), params.dataset["demo"]
    finetune.run_finetuning(settings, dataset, 1, clips, None, None, out, checkpoints, NullTracker(), {})


TRAININGS = ((pretrain, pretraining), (finetune, finetuning))


def history(module: ModuleType, training: Training, params: Params, clips: ClipDataset, arm: Arm) -> pd.DataFrame:
    """A training's history, the first epoch left out."""

    def train_arm(task: TrainTask, settings: Any, *where: Any) -> Learner:
        return train(arm(task, settings.recipe.batch_size), settings, *where)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(module, "train", train_arm):
        training(params, clips, Path(folder))
        return pd.read_csv(Path(folder) / "history.csv").iloc[1:]


class Counted:
    """A function, and the CPU-seconds of the threads that called it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        started = time.thread_time()
        result = self._function(*arguments)
        self.seconds += time.thread_time() - started
        return result


def cpu_shares(module: ModuleType, training: Training, params: Params, clips: ClipDataset) -> tuple[float, float]:
    """Shares of a training's CPU-seconds that reading and augmentation take; without workers, on one thread."""
    torch.set_num_threads(1)
    shares = []

    def train_counted(task: TrainTask, settings: Any, *where: Any) -> Learner:
        make_inputs, read = Counted(task.make_inputs), Counted(task.clips.training_batch)
        started = time.process_time()
        with mock.patch.object(ClipDataset, "training_batch", lambda self, *arguments: read(*arguments)):
            learner = train(replace(task, make_inputs=make_inputs), settings, *where)
        shares.extend(counted.seconds / (time.process_time() - started) for counted in (read, make_inputs))
        return learner

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(module, "train", train_counted):
        training(params, clips, Path(folder))
    reading, augmentation = shares
    return reading, augmentation


def main(
    num_rounds: Annotated[int, typer.Option(help="Rounds of all arms in turns.")] = 5,
    num_epochs: Annotated[int, typer.Option(help="Epochs of a training.")] = 4,
    num_workers: Annotated[list[int], typer.Option(help="Processes that read.", metavar="N...")] = (0,),
) -> None:
    """Measure and print."""
    params = load_params(DEMO)
    short = {"epochs": num_epochs, "warmup_epochs": 0}
    params = params.model_copy(
        update={name: getattr(params, name).model_copy(update=short) for name in ("pretrain", "finetune")}
    )
    print(f"{num_rounds} rounds of {num_epochs} epochs, {torch.get_num_threads()} threads; medians")
    print(
        "| training | workers | clips/s real | one batch | ready inputs | real / one batch | real / ready | waiting |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        clips = made_up_clips(Path(folder), NUM_CLIPS, params)
        for workers in num_workers:
            compute = params.compute.model_copy(update={"num_workers": workers})
            chosen = params.model_copy(update={"compute": compute})
            for module, training in TRAININGS:
                rounds = [
                    [history(module, training, chosen, clips, arm).median() for arm in ARMS] for _ in range(num_rounds)
                ]
                print("|", " | ".join([training.__name__, str(workers), *_cells(rounds)]), "|", flush=True)
        for module, training in TRAININGS:
            reading, augmentation = cpu_shares(module, training, params, clips)
            print(f"{training.__name__}: reading takes {reading:.1%} of the CPU, augmentation {augmentation:.1%}")


def _cells(rounds: list[list[pd.Series]]) -> list[str]:
    real, one, ready = np.array([[rows["samples_per_second"] for rows in arms] for arms in rounds]).T
    waiting = np.array([arms[0]["waiting_share"] for arms in rounds])
    values = [f"{np.median(rate):.1f}" for rate in (real, one, ready)]
    return values + [f"{np.median(share):.0%}" for share in (real / one, real / ready, waiting)]


if __name__ == "__main__":
    run(main, "python -m benchmarks.epoch", __doc__)
