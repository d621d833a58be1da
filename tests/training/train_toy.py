"""A small training as a program of its own: ``python -m tests.training.train_toy pretrain CLIPS OUT SECTIONS_AS_JSON``.

The sections are parameters such as ``{"pretrain": {"epochs": 12}, "compute": {"deterministic": true}}``.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from hicmae_core.training.distributed import rank
from hicmae_core.training.finetune import run_finetuning
from hicmae_core.training.pretrain import run_pretraining
from stages.command import run

from .conftest import make_params, open_clips
from .trackers import StepFile


def train(kind: str, clips_folder: Path, out_dir: Path, sections: dict[str, dict[str, Any]]) -> None:
    """Train, or train on, in a folder, in which each process leaves the losses of its steps."""
    params, clips, checkpoints = make_params(**sections), open_clips(clips_folder, "classes"), out_dir / "checkpoints"
    tracker = StepFile(out_dir)
    if kind == "pretrain":
        run_pretraining(params, clips, out_dir, checkpoints, tracker)
    else:
        validation = clips if params.finetune.selection == "validation" else None
        out_path = out_dir / "model.safetensors"
        run_finetuning(params, "toy", 1, clips, validation, None, out_path, checkpoints, tracker)
    (out_dir / f"rank{rank()}.txt").touch()


if __name__ == "__main__":
    run(partial(train, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])))
