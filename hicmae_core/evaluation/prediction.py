"""The model's answers on test clips. Nothing here is random, and no generator can be handed in."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from hicmae_core.config import DatasetParams, EvaluateParams
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.clips import ClipDataset, test_batches
from hicmae_core.model.classifier import Classifier
from hicmae_core.progress import progress_bar


def predict(
    model: Classifier,
    clips: ClipDataset,
    dataset: DatasetParams,
    settings: EvaluateParams,
    device: torch.device,
    num_workers: int = 0,
) -> pd.DataFrame:
    """Predict labelled clips from evenly spaced windows, the outputs of a clip's windows averaged.

    Args:
        model: A classifier or regressor in eval mode; moved to `device`.
        clips: Labelled test clips.
        dataset: Names of the classes or targets.
        settings: Windows per clip, and clips per forward pass.
        device: Where the model runs.
        num_workers: Processes that decode; 0 decodes in this one.

    Returns:
        One row per clip, in order: ``clip_id``, ``subject`` (None if unknown), then for classification ``label``,
        ``prediction`` and a probability ``p_<class>`` per class (softmax of the averaged logits), for regression
        ``target_<name>`` and ``output_<name>`` per target.

    Raises:
        ValueError: If there are no clips or labels, the model has another number of outputs than the dataset, or an
            output is not finite.
    """
    if not len(clips) or clips.labels is None:
        raise ValueError(f"evaluation needs labelled test clips; there are {len(clips)} clips")
    if model.architecture.num_outputs != dataset.num_outputs:
        raise ValueError(
            f"the model has {model.architecture.num_outputs} outputs, the dataset {dataset.num_outputs}; "
            "fine-tune a model for this dataset"
        )
    model.to(device)
    num_batches = -(-len(clips) // settings.batch_size)
    batches = test_batches(clips, settings.batch_size, settings.num_segments, num_workers)
    outputs = []
    for batch in progress_bar(batches, total=num_batches, desc="evaluate", unit="batch"):
        frames, audio = batch.frames.flatten(0, 1), batch.audio.flatten(0, 1)
        by_window = predict_windows(model, frames, audio, len(frames))
        by_clip = by_window.unflatten(0, (-1, settings.num_segments)).mean(dim=1)
        _check_finite(by_clip, batch.clip_ids)
        outputs.append(by_clip)
    return _table(clips, torch.cat(outputs), dataset)


@torch.inference_mode()
def predict_windows(model: Classifier, frames: Tensor, audio: Tensor, batch_size: int) -> Tensor:
    """Run the model on windows of clips, on the device it is on, in float32.

    Args:
        model: A classifier or regressor in eval mode.
        frames: Face crops `[N, T, S, S, 3]`, uint8 RGB of any size; resized to the model's.
        audio: Normalised log-mel windows `[N, 1, time, mel]`.
        batch_size: Windows per forward pass.

    Returns:
        Logits, or a regressor's outputs, `[N, num_outputs]` on the CPU.
    """
    assert not model.training, "drop path would make predictions random"
    device = next(model.parameters()).device
    outputs = []
    for some_frames, some_audio in zip(frames.split(batch_size), audio.split(batch_size), strict=True):
        video = resize_only(some_frames.to(device), model.architecture.image_size)
        outputs.append(model(video, some_audio.to(device)).float().cpu())
    return torch.cat(outputs)


def _check_finite(outputs: Tensor, clip_ids: list[str]) -> None:
    bad = [
        clip_id for clip_id, finite in zip(clip_ids, outputs.isfinite().all(dim=1).tolist(), strict=True) if not finite
    ]
    if bad:
        raise ValueError(f"the model's output is not finite for {', '.join(bad[:5])}; look at its training history")


def _table(clips: ClipDataset, outputs: Tensor, dataset: DatasetParams) -> pd.DataFrame:
    assert clips.labels is not None
    columns: dict[str, object] = {
        "clip_id": list(clips.clip_ids),
        "subject": pd.Series(list(clips.subjects or [None] * len(clips)), dtype="object"),
    }
    if dataset.task == "classification":
        columns |= {"label": clips.labels, "prediction": outputs.argmax(dim=1).numpy()}
        probabilities = outputs.double().softmax(dim=1).numpy()
        columns |= {f"p_{name}": probabilities[:, index] for index, name in enumerate(dataset.classes)}
    else:
        columns |= {f"target_{name}": clips.labels[:, index] for index, name in enumerate(dataset.targets)}
        columns |= {f"output_{name}": outputs[:, index].numpy() for index, name in enumerate(dataset.targets)}
    return pd.DataFrame(columns)
