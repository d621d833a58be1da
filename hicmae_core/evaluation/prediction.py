"""The model's predictions on test clips. Nothing here is random, and no generator can be handed in.

An audio-visual model may be shown one modality alone. The other's place is then taken by zeros, after normalisation:
the mean image of ImageNet, or a spectrogram that is everywhere the mean log-mel value.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from hicmae_core.config import DatasetParams, EvaluateParams, Modality
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.batches import test_batches
from hicmae_core.data.clips import ClipDataset
from hicmae_core.model.classifier import Classifier
from hicmae_core.model.probabilities import average_segments
from hicmae_core.progress import progress_bar


def shown_modality(trained: Modality, asked: Modality) -> Modality:
    """What a model is shown: what is asked for, or all that it was trained on if that is ``both``.

    Args:
        trained: The modality that the model was trained on.
        asked: ``evaluate.modality``.

    Raises:
        ValueError: If a model of one modality is asked about the other.
    """
    if trained != "both" and asked not in ("both", trained):
        raise ValueError(
            f"the model was trained on {trained} alone and reads no {asked}; set evaluate.modality to both"
        )
    return trained if asked == "both" else asked


def predict(
    model: Classifier,
    clips: ClipDataset,
    dataset: DatasetParams,
    settings: EvaluateParams,
    device: torch.device,
    num_workers: int = 0,
    temperatures: Sequence[float] = (),
) -> pd.DataFrame:
    """Predict labelled clips from evenly spaced windows, averaged per clip (`average_segments`).

    Args:
        model: A classifier or regressor in eval mode; moved to `device`.
        clips: Labelled test clips, read for the modality that the model is to be shown (`shown_modality`).
        dataset: Names of the classes or targets.
        settings: Windows per clip, and clips per forward pass.
        device: Where the model runs.
        num_workers: Processes that decode; 0 decodes in this one.
        temperatures: Of each target, if any were fitted; they are noted, and the probabilities stay as they are.

    Returns:
        One row per clip, in order: ``clip_id``, ``subject`` (None if unknown), ``unit`` (what it is scored with, see
        `fold_results.by_unit`), ``modality`` (the model's) and ``shown``; ``group`` (of the speaker) where any is
        known; then for classification ``label``, ``prediction`` (the class of the largest probability), a probability
        ``p_<class>`` per class (mean over windows), and ``temperature`` if there is one; where there are several
        targets these are ``label_<target>``, ``prediction_<target>``, ``p_<target>_<class>`` and
        ``temperature_<target>`` of each; for regression ``target_<name>`` and ``output_<name>`` per target.

    Raises:
        ValueError: If there are no clips or labels, the model has another number of outputs than the dataset or was
            not trained on what the clips are read for, or an output is not finite.
    """
    if not len(clips) or clips.labels is None:
        raise ValueError(f"evaluation needs labelled test clips; there are {len(clips)} clips")
    if model.architecture.num_outputs != dataset.num_outputs:
        raise ValueError(
            f"the model has {model.architecture.num_outputs} outputs, the dataset {dataset.num_outputs}; "
            "fine-tune a model for this dataset"
        )
    modality = model.architecture.modality
    shown = shown_modality(modality, clips.modality)
    model.to(device)
    num_batches = -(-len(clips) // settings.batch_size)
    batches = test_batches(clips, settings.batch_size, settings.num_segments, num_workers)
    outputs = []
    for batch in progress_bar(batches, total=num_batches, desc="evaluate", unit="batch"):
        frames = None if shown == "audio" else batch.frames.flatten(0, 1)
        audio = None if shown == "video" else batch.audio.flatten(0, 1)
        by_window = predict_windows(model, frames, audio, len(batch.clip_ids) * settings.num_segments)
        by_segment = by_window.unflatten(0, (-1, settings.num_segments))
        _check_finite(by_segment, batch.clip_ids)
        outputs.append(average_segments(by_segment, len(dataset.classes)))
    table = _table(clips, torch.cat(outputs), dataset, modality, shown)
    noted = {f"temperature{suffix}": value for suffix, value in zip(dataset.suffixes, temperatures, strict=False)}
    return table.assign(**noted)


@torch.inference_mode()
def predict_windows(model: Classifier, frames: Tensor | None, audio: Tensor | None, batch_size: int) -> Tensor:
    """Run the model on windows of clips, on the device it is on, in float32.

    Args:
        model: A classifier or regressor in eval mode.
        frames: Face crops `[N, T, S, S, 3]`, uint8 RGB of any size; resized to the model's. None is not shown.
        audio: Normalised log-mel windows `[N, 1, time, mel]`; None is not shown.
        batch_size: Windows per forward pass.

    Returns:
        Logits, or a regressor's outputs, `[N, num_outputs]` on the CPU.
    """
    assert not model.training, "drop path would make predictions random"
    shape = model.architecture
    device = next(model.parameters()).device
    num_windows = len(frames) if frames is not None else len(audio) if audio is not None else 0
    outputs = []
    for start in range(0, num_windows, batch_size):
        part = slice(start, min(start + batch_size, num_windows))
        size = part.stop - part.start
        video = (
            torch.zeros(size, *shape.video_shape, device=device)
            if frames is None
            else resize_only(frames[part].to(device), shape.image_size)
        )
        sound = torch.zeros(size, *shape.audio_shape, device=device) if audio is None else audio[part].to(device)
        outputs.append(model(video, sound).float().cpu())
    return torch.cat(outputs)


def _check_finite(outputs: Tensor, clip_ids: list[str]) -> None:
    bad = [
        clip_id
        for clip_id, finite in zip(clip_ids, outputs.isfinite().flatten(1).all(dim=1).tolist(), strict=True)
        if not finite
    ]
    if bad:
        raise ValueError(f"the model's output is not finite for {', '.join(bad[:5])}; see its training history")


def _table(clips: ClipDataset, outputs: Tensor, dataset: DatasetParams, modality: str, shown: str) -> pd.DataFrame:
    assert clips.labels is not None
    columns: dict[str, object] = {
        "clip_id": list(clips.clip_ids),
        "subject": pd.Series(list(clips.subjects or [None] * len(clips)), dtype="object"),
        "unit": list(clips.units or clips.clip_ids),
        "modality": modality,
        "shown": shown,
    }
    if any(clips.groups or ()):
        columns["group"] = pd.Series(list(clips.groups or ()), dtype="object")
    labels = clips.labels.reshape(len(clips), -1)
    if dataset.task == "regression":
        columns |= {f"target_{name}": labels[:, index] for index, name in enumerate(dataset.targets)}
        columns |= {f"output_{name}": outputs[:, index].numpy() for index, name in enumerate(dataset.targets)}
        return pd.DataFrame(columns)
    logits = outputs.unflatten(1, (len(dataset.suffixes), -1))
    probabilities = logits.double().softmax(dim=-1).numpy()  # [N, targets, classes]
    for target, suffix in enumerate(dataset.suffixes):
        columns |= {f"label{suffix}": labels[:, target], f"prediction{suffix}": logits[:, target].argmax(dim=1).numpy()}
        columns |= {f"p{suffix}_{name}": probabilities[:, target, i] for i, name in enumerate(dataset.classes)}
    return pd.DataFrame(columns)
