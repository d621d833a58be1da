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
from hicmae_core.config import DatasetParams, FinetuneParams, Params
from hicmae_core.data.augmentation import audio_gain, finetuning_augmentation, hide_modalities, mix
from hicmae_core.data.clips import Batch, ClipDataset
from hicmae_core.files import fingerprint
from hicmae_core.finetuning.validation import held_out_levels, temperature_names, validate
from hicmae_core.model.artifact import load_pretrained, save_model
from hicmae_core.model.classifier import Classifier, initialise_from_pretraining
from hicmae_core.model.layers import checkpoint_blocks
from hicmae_core.model.sizes import classifier
from hicmae_core.model.weights_file import own_header
from hicmae_core.training import distributed
from hicmae_core.training.checkpoint import CheckpointStore
from hicmae_core.training.loop import TrainSettings, TrainTask, train
from hicmae_core.training.losses import class_weights, sampling_weights, smooth_one_hot
from hicmae_core.training.objectives import FinetuningObjective
from hicmae_core.training.optim import adamw
from hicmae_core.training.randomness import generator_for, seed_everything
from hicmae_core.training.tracker import Tracker, summarise, write_history


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
        "code": code_of("finetuning.finetune", *(["training.pretrain"] if params.finetune.adaptive_epochs else [])),
    }


def finetuning_fingerprint(
    params: Params, dataset_name: str, fold: int, data: Sequence[Path], pretrained: Path | None
) -> str:
    """The name of all `finetuning_inputs`."""
    return fingerprint("finetune", *finetuning_inputs(params, dataset_name, fold, data, pretrained).values())


def run_finetuning(
    settings: TrainSettings[FinetuneParams],
    dataset: DatasetParams,
    fold: int,
    clips: ClipDataset,
    validation: ClipDataset | None,
    pretrained: Path | None,
    out_path: Path,
    checkpoint_dir: Path,
    tracker: Tracker,
    notes: Mapping[str, object],
) -> dict[str, float]:
    """Fine-tune one fold, resuming where a killed run of the same fingerprint stopped.

    Args:
        settings: Seed, recipe, geometry of the model, and where it runs.
        dataset: What is predicted.
        fold: The test fold, 1-based; a note for the model's metadata, its clips are not here.
        clips: Training clips with labels, int64 class ids or float32 targets, read for `finetune.modality`.
        validation: Held-out training clips, if selection is ``validation``; else None.
        pretrained: The pre-trained weights (`load_pretrained`); None starts from random ones.
        out_path: Gets the model; ``history.csv`` appears beside it.
        checkpoint_dir: Named by `finetuning_fingerprint`; deleted at the end.
        tracker: Gets the metrics of steps and epochs.
        notes: Further metadata of the model: the dataset's name, and how its faces were made.

    Returns:
        The last epoch's row (`train_loss`, and `validation_*` if validated), with `samples_per_second` over all
        epochs, `num_clips`, `num_parameters`, `chosen_epoch` (from 0), and the `seconds` of this process.

    Raises:
        ValueError: If there are fewer clips than a batch holds, a loss is not finite, the pre-trained weights
            do not fit, `finetune.class_balance` does not fit the labels, or `validation` and the selection disagree.
    """
    started = time.perf_counter()
    recipe, compute = settings.recipe, settings.compute
    if (validation is not None) != (recipe.selection == "validation"):
        raise ValueError(f"finetune.selection is {recipe.selection}: validation clips are given for `validation` alone")
    device = distributed.training_device(compute.device)
    with distributed.process_group(device):
        seed_everything(settings.seed, "initial weights of fine-tuning", fold)
        model = _model(settings, dataset, pretrained).to(device)
        if compute.activation_checkpointing:
            checkpoint_blocks(model)
        task = _task(settings, dataset, fold, model, clips, validation)
        store = CheckpointStore(checkpoint_dir, compute.num_checkpoints)
        learner = train(task, settings, device, store, tracker)
        chosen_epoch = recipe.epochs - 1 if learner.best_epoch is None else learner.best_epoch
        weights = learner.weights()
        if distributed.rank() == 0:
            if learner.best_epoch is not None:
                weights = store.best(chosen_epoch)
            metadata = (
                _metadata(settings, dataset, fold, chosen_epoch, pretrained) | clips.stride.metadata | dict(notes)
            )
            if validation is not None:
                metadata |= _held_out(model, weights, validation, learner.history[chosen_epoch], settings, dataset)
            save_model(out_path, model, metadata, weights)
            write_history(out_path.with_name("history.csv"), learner.history)
            store.clear()
        distributed.wait_for_all()
    return summarise(learner, len(clips)) | {"chosen_epoch": chosen_epoch, "seconds": time.perf_counter() - started}


def _model(settings: TrainSettings[FinetuneParams], dataset: DatasetParams, pretrained: Path | None) -> Classifier:
    shape, recipe = settings.model, settings.recipe
    model = classifier(
        shape.size,
        dataset.num_outputs,
        image_size=shape.image_size,
        num_frames=shape.num_frames,
        num_audio_frames=shape.num_audio_frames,
        video_patch=shape.video_patch,
        audio_patch=shape.audio_patch,
        modality=recipe.modality,
        drop_path=recipe.drop_path,
        output_activation=recipe.output_activation,
        fusion=recipe.fusion,
        pooling=recipe.pooling,
    )
    if pretrained is not None:
        initialise_from_pretraining(model, load_pretrained(pretrained, shape.size).state_dict())
    if recipe.trainable == "head":
        model.freeze_features()
    return model


def _task(
    settings: TrainSettings[FinetuneParams],
    dataset: DatasetParams,
    fold: int,
    model: Classifier,
    clips: ClipDataset,
    validation: ClipDataset | None,
) -> TrainTask:
    recipe = settings.recipe
    assert clips.labels is not None, "fine-tuning needs labels"
    by_class = by_clip = None
    if recipe.class_balance == "loss":
        by_class = torch.from_numpy(class_weights(clips.labels, len(dataset.classes))).to(model.head.weight.device)
    elif recipe.class_balance == "sampler":
        by_clip = sampling_weights(clips.labels)
    return TrainTask(
        model=model,
        optimizer=adamw(model, recipe.betas, recipe.weight_decay, recipe.layer_decay),
        objective=FinetuningObjective(model, dataset, recipe, by_class),
        clips=clips,
        make_inputs=partial(_inputs, settings, dataset, fold),
        validate=None
        if validation is None
        else partial(validate, model, validation, dataset, recipe, settings.compute.num_workers),
        sampling_weights=by_clip,
    )


def _inputs(
    settings: TrainSettings[FinetuneParams], dataset: DatasetParams, fold: int, batch: Batch, step: int, part: int
) -> tuple[Tensor, ...]:
    """A micro-batch, augmented and mixed: what the objective takes."""
    augmentation = settings.recipe.augmentation
    generator = generator_for(settings.seed, "fine-tuning augmentation", fold, step, distributed.rank(), part)
    video = finetuning_augmentation(batch.frames, augmentation, settings.model.image_size, generator)
    audio = audio_gain(batch.audio, generator) if augmentation.audio_gain else batch.audio
    assert batch.labels is not None
    hidden = settings.recipe.modality_dropout
    if dataset.task == "regression":
        return *hide_modalities(video, audio, hidden, generator), batch.labels
    by_target = batch.labels.view(len(video), -1)
    distributions = smooth_one_hot(by_target, len(dataset.classes), augmentation.label_smoothing)  # [B, targets, C]
    video, audio, distributions = mix(video, audio, distributions, augmentation, generator)
    return *hide_modalities(video, audio, hidden, generator), distributions


def _metadata(
    settings: TrainSettings[FinetuneParams],
    dataset: DatasetParams,
    fold: int,
    chosen_epoch: int,
    pretrained: Path | None,
) -> dict[str, object]:
    """What evaluation and serving need to know of a model."""
    recipe = settings.recipe
    return {
        "fold": fold,
        "task": dataset.task,
        "classes": list(dataset.classes),
        "targets": list(dataset.targets),
        "labels": dataset.labels,
        "modality": recipe.modality,
        "selection": recipe.selection,
        "epoch": chosen_epoch,
        "face_source": dataset.faces,
        "recipe": recipe.model_dump(mode="json"),
        "pretraining": None if pretrained is None else _pretraining(pretrained),
        **settings.model.model_dump(),
    }


def _held_out(
    model: Classifier,
    weights: Mapping[str, Tensor],
    clips: ClipDataset,
    row: Mapping[str, float],
    settings: TrainSettings[FinetuneParams],
    dataset: DatasetParams,
) -> dict[str, object]:
    """What the validation clips say of the weights that are kept: temperatures, and when to abstain."""
    temperatures = [row[name] for name in temperature_names(dataset)]
    if dataset.task != "classification":
        return {"temperatures": temperatures}
    kept = Classifier(model.architecture)
    kept.load_state_dict(weights)
    kept.to(model.head.weight.device)
    workers = settings.compute.num_workers
    levels = held_out_levels(kept, clips, dataset, settings.recipe, temperatures[0], workers)
    return {"temperatures": temperatures, "abstention_levels": levels}


def _pretraining(path: Path) -> dict[str, object]:
    """What is known of how the weights came about."""
    header = own_header(path)
    metadata = header["metadata"] if header else {}
    return {key: metadata[key] for key in ("dataset", "recipe") if key in metadata} or {"source": path.name}
