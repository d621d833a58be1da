"""A small training as a program of its own: ``python -m tests.training.train_toy pretrain CLIPS OUT SECTIONS_AS_JSON``.

The sections are parameters such as ``{"pretrain": {"epochs": 12}, "compute": {"deterministic": true}}``.
"""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hicmae.command import supervise
from hicmae_core.training.distributed import process_group, rank, training_device
from tests.training.conftest import adapt, run_finetuning, run_pretraining

from .conftest import make_params, open_clips
from .trackers import Recorder


class StepFile(Recorder):
    """Writes the first loss of each step to a file of its own at once, so that it outlives a process that is killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"steps-{len(list(folder.glob('steps-*.txt'))):02d}.txt"
        self.path.touch()

    def log_series(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        if name in ("step/total", "step/train_loss"):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("".join(f"{step} {value!r}\n" for step, value in points))


def train(kind: str, clips_folder: Path, out_dir: Path, sections: dict[str, dict[str, Any]]) -> None:
    """Train, or train on, in a folder, in which each process leaves the losses of its steps."""
    params, clips, checkpoints = make_params(**sections), open_clips(clips_folder, "classes"), out_dir / "checkpoints"
    tracker = StepFile(out_dir)
    if kind == "pretrain":
        run_pretraining(params, clips, out_dir, checkpoints, tracker)
    else:
        validation = clips if params.finetune.selection == "validation" else None
        out_path = out_dir / "model.safetensors"
        with process_group(training_device(params.compute.device)):
            start = adapt(params, clips, None, checkpoints) if params.finetune.adaptive_epochs else None
            run_finetuning(params, "toy", 1, clips, validation, start, out_path, checkpoints, tracker)
    (out_dir / f"rank{rank()}.txt").touch()


if __name__ == "__main__":
    supervise(partial(train, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])))
