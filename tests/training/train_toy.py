"""A small training as a program of its own: ``python -m tests.training.train_toy pretrain CLIPS OUT KEYS_AS_JSON``."""

import json
import sys
from pathlib import Path

from hicmae_core.data.clips import ClipDataset
from hicmae_core.training.distributed import rank
from hicmae_core.training.finetune import run_finetuning
from hicmae_core.training.pretrain import run_pretraining
from hicmae_core.training.tracker import NullTracker

from .conftest import make_params, open_clips


def main(kind: str, clips_folder: Path, out_dir: Path, keys: str) -> None:
    params = make_params(**{kind: json.loads(keys)})
    clips: ClipDataset = open_clips(clips_folder, "classes")
    checkpoint_dir = out_dir / "checkpoints"
    if kind == "pretrain":
        run_pretraining(params, clips, out_dir, checkpoint_dir, NullTracker())
    else:
        out_path = out_dir / "model.safetensors"
        run_finetuning(params, "toy", 1, clips, None, None, out_path, checkpoint_dir, NullTracker())
    (out_dir / f"rank{rank()}.txt").touch()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
