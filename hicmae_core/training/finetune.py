"""Fine-tuning of one fold: classification or regression of labelled clips (paper section 3.5).

A classification has one target, the emotion; a multi_classification has several, each with a cross-entropy of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hicmae_core.code import code_of
from hicmae_core.config import DatasetParams, Params
from hicmae_core.data.augmentation import audio_gain, finetuning_augmentation, hide_modalities, mix
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.files import fingerprint
from hicmae_core.model.artifact import load_pretrained, save_model
from hicmae_core.model.classifier import Classifier, initialise_from_pretraining
from hicmae_core.model.layers import checkpoint_blocks
from hicmae_core.model.sizes import classifier
from hicmae_core.model.weights_file import own_header
from hicmae_core.training import distributed
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.loop import Run, Task, train
from hicmae_core.training.losses import class_weights, sampling_weights, smooth_one_hot
from hicmae_core.training.objectives import FinetuningObjective
from hicmae_core.training.randomness import generator_for, seed_everything
from hicmae_core.training.tracker import Tracker, summarise, write_history
from hicmae_core.training.validation import held_out_levels, temperature_names, validate


def finetuning_inputs(
    params: Params, dataset_name: str, fold: int, data: Sequence[Path], pretrained: Path | None
) -> dict[str, Any]:
    """Everything that determines a fold's result, by name; paths stand for their content.

    Args:
        params: All parameters; those of this training count.
        dataset_name: A key of `params.dataset`.
        fold: The test fold, 1-based.
        data: Small files that follow the data: the manifest and the stores' indices.
        pretrained: The pre-trained weights; None from scratch.
    """
    return {
        "dataset_name": dataset_name,
        "fold": fold,
        "seed": params.seed,
        "dataset": params.dataset[dataset_name],
        "faces": params.faces,
        "model": params.model,
        "finetune": params.finetune,
        "data": data,
        "pretrain": params.pretrain if params.finetune.adaptive_epochs else None,
        "pre-trained weights": pretrained,
        "code": code_of("training.finetune", *(["training.pretrain"] if params.finetune.adaptive_epochs else [])),
    }


def finetuning_fingerprint(
    params: Params, dataset_name: str, fold: int, data: Sequence[Path], pretrained: Path | None
) -> str:
    """The name of all `finetuning_inputs`."""
    return fingerprint("finetune", *finetuning_inputs(params, dataset_name, fold, data, pretrained).values())


def run_finetuning(
    params: Params,
    dataset_name: str,
    fold: int,
    clips: ClipDataset,
    validation: ClipDataset | None,
    pretrained: Path | None,
    out_path: Path,
    checkpoint_dir: Path,
    tracker: Tracker,
) -> dict[str, float]:
    """Fine-tune one fold, resuming where a killed run of the same fingerprint stopped.

    Args:
        params: All parameters; `seed`, `compute`, `model`, `finetune` and the dataset's count.
        dataset_name: A key of `params.dataset`.
        fold: The test fold, 1-based; a note for the model's metadata, its clips are not here.
        clips: Training clips with labels, int64 class ids or float32 targets, read for `finetune.modality`.
        validation: Held-out training clips, if selection is ``validation``; else None.
        pretrained: The pre-trained weights (`load_pretrained`); None starts from random ones.
        out_path: Gets the model; ``history.csv`` appears beside it.
        checkpoint_dir: Named by `finetuning_fingerprint`; deleted at the end.
        tracker: Told of every step and epoch.

    Returns:
        The last epoch's row (`train_loss`, and `validation_*` if validated), with `samples_per_second` over all
        epochs, `num_clips`, `num_parameters`, `chosen_epoch` (from 0), and the `seconds` of this process.

    Raises:
        ValueError: If there are fewer clips than a batch holds, a loss is not finite, the pre-trained weights
            do not fit, `finetune.class_balance` does not fit the labels, or `validation` and the selection disagree.
    """
    started = time.perf_counter()
    settings, dataset = params.finetune, params.dataset[dataset_name]
    if (validation is not None) != (settings.selection == "validation"):
        raise ValueError(
            f"finetune.selection is {settings.selection}: validation clips are given for `validation` alone"
        )
    device = distributed.training_device(params.compute.device)
    with distributed.process_group(device):
        seed_everything(params.seed, "initial weights of fine-tuning", fold)
        model = _model(params, dataset, pretrained).to(device)
        if params.compute.activation_checkpointing:
            checkpoint_blocks(model)
        task = _task(params, dataset, fold, model, clips, validation)
        run = Run(
            params.seed,
            device,
            params.compute,
            CheckpointStore(checkpoint_dir, params.compute.num_checkpoints),
            tracker,
        )
        learner = train(task, settings, run)
        chosen_epoch = settings.epochs - 1 if learner.best_epoch is None else learner.best_epoch
        weights = learner.weights()
        if distributed.rank() == 0:
            if learner.best_epoch is not None:
                weights = run.checkpoints.best(chosen_epoch)
            metadata = _metadata(params, dataset_name, fold, chosen_epoch, pretrained) | clips.stride.metadata
            if validation is not None:
                metadata |= _held_out(model, weights, validation, learner.history[chosen_epoch], params, dataset)
            save_model(out_path, model, metadata, weights)
            write_history(out_path.with_name("history.csv"), learner.history)
            run.checkpoints.clear()
        distributed.wait_for_all()
    return summarise(learner, len(clips)) | {"chosen_epoch": chosen_epoch, "seconds": time.perf_counter() - started}


def _model(params: Params, dataset: DatasetParams, pretrained: Path | None) -> Classifier:
    model = classifier(
        params.model.size,
        dataset.num_outputs,
        image_size=params.model.image_size,
        num_frames=params.model.num_frames,
        num_audio_frames=params.model.num_audio_frames,
        video_patch=params.model.video_patch,
        audio_patch=params.model.audio_patch,
        modality=params.finetune.modality,
        drop_path=params.finetune.drop_path,
        output_activation=params.finetune.output_activation,
        fusion=params.finetune.fusion,
        pooling=params.finetune.pooling,
    )
    if pretrained is not None:
        initialise_from_pretraining(model, load_pretrained(pretrained, params.model.size).state_dict())
    if params.finetune.trainable == "head":
        model.freeze_features()
    return model


def _task(
    params: Params,
    dataset: DatasetParams,
    fold: int,
    model: Classifier,
    clips: ClipDataset,
    validation: ClipDataset | None,
) -> Task:
    settings = params.finetune
    assert clips.labels is not None, "fine-tuning needs labels"
    by_class = by_clip = None
    if settings.class_balance == "loss":
        by_class = torch.from_numpy(class_weights(clips.labels, len(dataset.classes))).to(model.head.weight.device)
    elif settings.class_balance == "sampler":
        by_clip = sampling_weights(clips.labels)
    return Task(
        model=model,
        objective=FinetuningObjective(model, dataset, settings, by_class),
        clips=clips,
        inputs_of=partial(_inputs, params, dataset, fold),
        layer_decay=settings.layer_decay,
        validate=None
        if validation is None
        else partial(validate, model, validation, dataset, settings, params.compute.num_workers),
        sampling_weights=by_clip,
    )


def _inputs(
    params: Params, dataset: DatasetParams, fold: int, batch: Batch, step: int, part: int
) -> tuple[Tensor, ...]:
    """A part of a batch, augmented and mixed: what the objective takes."""
    augmentation = params.finetune.augmentation
    generator = generator_for(params.seed, "fine-tuning augmentation", fold, step, distributed.rank(), part)
    video = finetuning_augmentation(batch.frames, augmentation, params.model.image_size, generator)
    audio = audio_gain(batch.audio, generator) if augmentation.audio_gain else batch.audio
    assert batch.labels is not None
    hidden = params.finetune.modality_dropout
    if dataset.task == "regression":
        return *hide_modalities(video, audio, hidden, generator), batch.labels
    by_target = batch.labels.view(len(video), -1)
    distributions = smooth_one_hot(by_target, len(dataset.classes), augmentation.label_smoothing)  # [B, targets, C]
    video, audio, distributions = mix(video, audio, distributions, augmentation, generator)
    return *hide_modalities(video, audio, hidden, generator), distributions


def _metadata(
    params: Params, dataset_name: str, fold: int, chosen_epoch: int, pretrained: Path | None
) -> dict[str, object]:
    """What evaluation and serving need to know of a model."""
    dataset = params.dataset[dataset_name]
    return {
        "dataset": dataset_name,
        "fold": fold,
        "task": dataset.task,
        "classes": list(dataset.classes),
        "targets": list(dataset.targets),
        "labels": dataset.labels,
        "modality": params.finetune.modality,
        "selection": params.finetune.selection,
        "epoch": chosen_epoch,
        "faces": params.faces_of(dataset_name).model_dump(mode="json"),
        "face_source": dataset.faces,
        "recipe": params.finetune.model_dump(mode="json"),
        "pretraining": None if pretrained is None else _pretraining(pretrained),
        **params.model.model_dump(),
    }


def _held_out(
    model: Classifier,
    weights: Mapping[str, Tensor],
    clips: ClipDataset,
    row: Mapping[str, float],
    params: Params,
    dataset: DatasetParams,
) -> dict[str, object]:
    """What the validation clips say of the weights that are kept: temperatures, and when not to answer."""
    temperatures = [row[name] for name in temperature_names(dataset)]
    if dataset.task != "classification":
        return {"temperatures": temperatures}
    kept = Classifier(model.architecture)
    kept.load_state_dict(weights)
    kept.to(model.head.weight.device)
    workers = params.compute.num_workers
    levels = held_out_levels(kept, clips, dataset, params.finetune, temperatures[0], workers)
    return {"temperatures": temperatures, "abstention_levels": levels}


def _pretraining(path: Path) -> dict[str, object]:
    """What is known of how the weights came about."""
    header = own_header(path)
    metadata = header["metadata"] if header else {}
    return {key: metadata[key] for key in ("dataset", "recipe") if key in metadata} or {"source": path.name}
