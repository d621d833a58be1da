"""Linear models on hand-made features: what a network trained on few clips has to beat.

They read what the project has prepared, in its folds, and see nothing of the test speakers: every scale comes from
the training clips. The voice's functionals are computed by openSMILE, which is free for research, not for commercial
use, and no dependency of the project.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from skimage.feature import hog
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from benchmarks import evidence
from hicmae import layout
from hicmae.command import run
from hicmae.prepared import PreparedDataset
from hicmae_core.config import SAMPLE_RATE_HZ, Params, load_params
from hicmae_core.data.tensors import decode_frames
from hicmae_core.media.decoding import read_audio
from hicmae_core.progress import progress_bar
from hicmae_core.store.folds import split, test_clips
from hicmae_core.store.shards import ClipStore, as_matrix

EXAMPLES = """
python -m benchmarks.baselines javanese          in a project whose javanese is prepared: the table
python -m benchmarks.baselines javanese --add    and into docs/evidence
"""
OPENSMILE = "opensmile==2.6.0"
_SIDE = 64
_NUM_FRAMES = 12
_SMALL = (34, 45)  # width and height of the images whose pixels are features
_ALPHAS = np.logspace(-1, 5, 13)

Features = NDArray[np.float32]
"""``[clips, values]``."""


def egemaps_extractor() -> Any:
    """openSMILE's extractor of the 88 eGeMAPSv02 functionals.

    Raises:
        ValueError: If openSMILE is not installed.
    """
    try:
        import opensmile
    except ImportError:
        raise ValueError(f"openSMILE is missing: pip install {OPENSMILE} (free for research)") from None
    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)


def egemaps(smile: Any, paths: list[Path]) -> Features:
    """The functionals of each file's audio."""
    rows = [
        smile.process_signal(read_audio(path), SAMPLE_RATE_HZ).to_numpy()[0]
        for path in progress_bar(paths, desc="eGeMAPS", unit="clip")
    ]
    return np.stack(rows).astype(np.float32)


def hog_statistics(clips: list[NDArray[np.uint8]]) -> Features:
    """Mean, maximum and deviation over 12 frames of histograms of oriented gradients."""
    rows = []
    for frames in progress_bar(clips, desc="HOG", unit="clip"):
        chosen = frames[np.linspace(0, len(frames) - 1, _NUM_FRAMES).round().astype(int)]
        found = np.stack([hog(frame, 8, (8, 8), (2, 2), feature_vector=True) for frame in chosen])
        rows.append(np.concatenate([found.mean(0), found.max(0), found.std(0)]))
    return np.stack(rows).astype(np.float32)


def picture_statistics(clips: list[NDArray[np.uint8]]) -> Features:
    """Means, deviations and mean absolute differences over time of small grey images."""
    small = ([cv2.resize(frame, _SMALL, interpolation=cv2.INTER_AREA) for frame in frames] for frames in clips)
    return np.stack([_over_time(np.stack(frames).reshape(len(frames), -1) / 255) for frames in small])


def log_mel_statistics(features: list[NDArray[np.float32]]) -> Features:
    """The same of log-mel bins."""
    return np.stack([_over_time(matrix) for matrix in features])


def _over_time(values: NDArray[Any]) -> NDArray[np.float32]:
    values = values.astype(np.float32)
    return np.concatenate([values.mean(0), values.std(0), np.abs(np.diff(values, axis=0)).mean(0)])


def grey_faces(store: ClipStore, clip_ids: list[str]) -> list[NDArray[np.uint8]]:
    """Each clip's face crops, grey, ``[frames, 64, 64]``."""
    faces = []
    for clip_id in progress_bar(clip_ids, desc="faces", unit="clip"):
        jpegs = store[clip_id]["frames"]
        frames = decode_frames(jpegs, np.arange(len(jpegs))).numpy()
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        faces.append(np.stack([cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for frame in grey]))
    return faces


def svm(c: float) -> Callable[[], Any]:
    """A linear support vector machine on standardised features."""
    return lambda: make_pipeline(StandardScaler(), LinearSVC(C=c, max_iter=20_000, random_state=0))


def ridge() -> Any:
    """A linear ridge classifier whose penalty leave-one-out on the training clips chooses."""
    return make_pipeline(StandardScaler(), RidgeClassifierCV(_ALPHAS))


def predictions(params: Params, name: str) -> pd.DataFrame:
    """The baselines' rows for `evidence.add`: of each, the voice, the face and the sum of their decision values.

    Raises:
        ValueError: If the dataset is not prepared, is no classification of three classes or more, or openSMILE is
            missing.
    """
    folds, dataset = params.folds_of(name), params.dataset[name]
    if dataset.task != "classification" or len(dataset.classes) < 3:
        raise ValueError(f"the baselines classify three classes or more; {name} is another task or has fewer")
    smile = egemaps_extractor()  # before the work, not after it
    prepared = PreparedDataset(params, name)
    manifest = prepared.manifest.sort_values("clip_id").reset_index(drop=True)
    clip_ids = manifest["clip_id"].tolist()
    faces = grey_faces(ClipStore(layout.faces_folder(name)), clip_ids)
    sounds = ClipStore(layout.audio_folder(name))
    raw = [layout.raw_folder(name) / path for path in manifest["audio_path"]]
    log_mels = [as_matrix(sounds[clip_id]["fbank"]).astype(np.float32) for clip_id in clip_ids]
    models: dict[str, dict[str, tuple[Callable[[], Any], Features]]] = {
        "baseline-svm": {"audio": (svm(0.01), egemaps(smile, raw)), "video": (svm(0.001), hog_statistics(faces))},
        "baseline-ridge": {
            "audio": (ridge, log_mel_statistics(log_mels)),
            "video": (ridge, picture_statistics(faces)),
        },
    }
    rows = [_majority(manifest, name, fold, params) for fold in folds]
    for arm, parts in models.items():
        for fold in progress_bar(folds, desc=arm, unit="fold"):
            rows += _of_fold(manifest, name, fold, arm, parts, params)
    return pd.concat(rows, ignore_index=True)


def _training_clips(manifest: pd.DataFrame, name: str, fold: int, params: Params) -> list[str]:
    return split(manifest, fold, params.dataset[name], "last", 0.0, params.seed).train


def _of_fold(
    manifest: pd.DataFrame,
    name: str,
    fold: int,
    arm: str,
    parts: dict[str, tuple[Callable[[], Any], Features]],
    params: Params,
) -> list[pd.DataFrame]:
    places = {clip_id: place for place, clip_id in enumerate(manifest["clip_id"])}
    train, test = (
        [places[clip_id] for clip_id in chosen]
        for chosen in (_training_clips(manifest, name, fold, params), test_clips(manifest, fold))
    )
    labels = manifest["label"].to_numpy(dtype=int)
    rows, together = [], 0.0
    for modality, (make, features) in parts.items():
        model = make().fit(features[train], labels[train])
        values = model.decision_function(features[test])
        together = together + values / model.decision_function(features[train]).std()
        rows.append(_rows(manifest, name, fold, arm, modality, test, values.argmax(1), params))
    return [*rows, _rows(manifest, name, fold, arm, "both", test, np.asarray(together).argmax(1), params)]


def _majority(manifest: pd.DataFrame, name: str, fold: int, params: Params) -> pd.DataFrame:
    train = manifest.set_index("clip_id").loc[_training_clips(manifest, name, fold, params), "label"]
    test = np.flatnonzero(manifest["clip_id"].isin(test_clips(manifest, fold)))
    likeliest = np.full(len(test), int(train.mode()[0]))
    return _rows(manifest, name, fold, "baseline-majority", "both", list(test), likeliest, params)


def _rows(
    manifest: pd.DataFrame,
    name: str,
    fold: int,
    arm: str,
    modality: str,
    test: list[int],
    found: NDArray[Any],
    params: Params,
) -> pd.DataFrame:
    rows = manifest.iloc[test]
    classes = np.array(params.dataset[name].classes)
    about = {"dataset": name, "arm": arm, "modality": modality, "seed": 0, "fold": fold}
    return pd.DataFrame(
        {
            "clip_id": rows["clip_id"].tolist(),
            "subject": rows["subject"].tolist(),
            "label": classes[rows["label"].to_numpy(dtype=int)],
            "prediction": classes[found],
        }
    ).assign(**about)


def main(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="A dataset of params.yaml whose faces and audio are prepared.")
    ],
    add: Annotated[bool, typer.Option("--add", help="Put the predictions into docs/evidence.")] = False,
) -> None:
    """Print the table of linear models on hand-made features, in a prepared project's folds."""
    rows = predictions(load_params(), dataset)
    if add:
        evidence.add(rows)
    with tempfile.TemporaryDirectory() as folder:  # the baselines' table alone
        evidence.add(rows, Path(folder))
        print(evidence.table(dataset, Path(folder)))


if __name__ == "__main__":
    run(main, EXAMPLES)
