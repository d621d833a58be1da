"""Made-up manifests and indices of any length, as the stores have them."""

import numpy as np
import pandas as pd


def made_up(num_clips: int, num_folds: int = 5) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A manifest with the indices of its faces and audio stores, without any copies or rejects."""
    numbers = np.arange(num_clips)
    clip_ids = pd.Series([f"clip{number:07d}" for number in numbers], dtype="str")
    rng = np.random.default_rng(0)
    manifest = pd.DataFrame(
        {
            "clip_id": clip_ids,
            "video_path": clip_ids + ".mp4",
            "audio_path": clip_ids + ".mp4",
            "subject": pd.Series([f"speaker{number // 100}" for number in numbers], dtype="str"),
            "label": pd.array(numbers % 4, "Int64"),
            "label_name": pd.Series(list("abcd"), dtype="str")[numbers % 4].reset_index(drop=True),
            "test_fold": pd.array(numbers // 100 % num_folds + 1, "Int64"),
            "duration_seconds": 8.0,
            "sha256": pd.Series([f"{number:064x}" for number in numbers], dtype="str"),
            "status": "ok",
            "reason": "",
        }
    )
    faces = pd.DataFrame(
        {
            "clip_id": clip_ids,
            "source": clip_ids,
            "status": "ok",
            "reason": "",
            "fps": 25.0,
            "num_frames": 200,
            "start_seconds": 0.0,
            "coverage": rng.random(num_clips),
            "share": rng.random(num_clips),
            "face_size": rng.normal(200, 30, num_clips),
            "num_faces": 1,
            "digest": pd.Series([f"f{number:063x}" for number in numbers], dtype="str"),
        }
    )
    audio = pd.DataFrame(
        {
            "clip_id": clip_ids,
            "status": "ok",
            "reason": "",
            "num_samples": rng.integers(60_000, 300_000, num_clips),
            "digest": pd.Series([f"a{number:063x}" for number in numbers], dtype="str"),
        }
    )
    return manifest, faces, audio
