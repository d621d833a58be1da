"""A step that is not finite, seen from outside: nothing of it, nor of what would come after, is in the weights."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hicmae_core.config import Params
from hicmae_core.data.batches import training_batches
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.tracker import NullTracker

from .conftest import run_pretraining
from .trackers import Breaker, Broken

BAD_STEP = 2


class Silent(ClipDataset):
    """Clips of which one has an audio that is no number; its first batch is that of step `BAD_STEP`."""

    def training_batch(self, indices, generators) -> Batch:  # type: ignore[no-untyped-def]
        batch = super().training_batch(indices, generators)
        batch.audio[[clip_id == first_of(self, BAD_STEP) for clip_id in batch.clip_ids]] = math.nan
        return batch


def first_of(clips: ClipDataset, step: int) -> str:
    """The first clip of the batch of a step of the toy pre-training."""
    healthy = ClipDataset(clips.faces, clips.audio, clips.clip_ids, clips.labels, clips.model)
    *_, batch = training_batches(healthy, 8, 5, 1, 0, drop_last=True, start_step=step)
    return batch.clip_ids[0]


@pytest.mark.parametrize("log_every_steps", [1, 7])
def test_the_weights_stay_as_they_were_before_the_step(
    params: Callable[..., Params], unlabelled: ClipDataset, tmp_path: Path, log_every_steps: int
) -> None:
    healthy, folder = CheckpointStore(tmp_path / "healthy"), tmp_path / "bad"
    compute = {"checkpoint_every_minutes": 0, "log_every_steps": 1}
    with pytest.raises(Broken):
        run_pretraining(params(compute=compute), unlabelled, tmp_path, healthy.folder, Breaker(BAD_STEP))
    deadline = time.monotonic() + 60
    while not list(healthy.folder.glob(f"{BAD_STEP:08d}-*.pt")):  # it is still being written
        assert time.monotonic() < deadline
        time.sleep(0.01)
    state = healthy.latest()
    assert state is not None

    bad = Silent(unlabelled.faces, unlabelled.audio, unlabelled.clip_ids, None, unlabelled.model)
    with pytest.raises(ValueError, match=f"not finite at step {BAD_STEP} .*{first_of(bad, BAD_STEP)}"):
        run_pretraining(params(compute={"log_every_steps": log_every_steps}), bad, tmp_path, folder, NullTracker())
    (path,) = folder.glob(f"nonfinite-step-{BAD_STEP}-*.pt")
    saved = torch.load(path, weights_only=True)["objective"]
    for name, value in state["model"].items():
        assert torch.equal(saved[f"model.{name}"], value), name
