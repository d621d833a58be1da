import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hicmae_core.config import Params
from hicmae_core.data.clips import ClipDataset
from hicmae_core.evaluation.prediction import predict
from hicmae_core.finetuning.finetune import finetuning_fingerprint
from hicmae_core.model.artifact import load_classifier, load_pretrained, save_model
from hicmae_core.model.sizes import classifier, pretraining_model
from hicmae_core.training.tracker import NullTracker, Tracker

from .conftest import NO_AUGMENTATION, run_finetuning
from .trackers import Breaker, Broken, Recorder


def part(clips: ClipDataset, indices: range) -> ClipDataset:
    """Some of the clips."""
    assert clips.labels is not None
    chosen = np.array(indices)
    ids = [clips.clip_ids[index] for index in indices]
    return ClipDataset(clips.faces, clips.audio, ids, clips.labels[chosen], clips.model)


def finetune(
    params: Params,
    clips: ClipDataset,
    folder: Path,
    tracker: Tracker | None = None,
    dataset_name: str = "toy",
    **more: Any,
) -> dict[str, float]:
    arguments = {"validation": None, "pretrained": None} | more
    return run_finetuning(
        params,
        dataset_name,
        1,
        clips,
        out_path=folder / "model.safetensors",
        checkpoint_dir=folder / "checkpoints",
        tracker=tracker or NullTracker(),
        **arguments,
    )


def test_a_classifier_learns_colours_and_keeps_its_notes(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path
) -> None:
    tracker = Recorder()
    chosen = params(finetune={"epochs": 10, "augmentation": NO_AUGMENTATION})
    summary = finetune(chosen, labelled, tmp_path, tracker)
    history = pd.read_csv(tmp_path / "history.csv")
    assert list(history.columns) == [
        "epoch", "train_loss", "gradient_norm", "skipped_steps", "gradient_spikes", "lr", "samples_per_second",
        "waiting_share",
    ]  # fmt: skip
    assert history["train_loss"].iloc[0] == pytest.approx(np.log(3), rel=0.05)
    assert history["train_loss"].iloc[-1] < 0.3
    assert summary["chosen_epoch"] == 9
    assert [step for step, _ in tracker.series["step/train_loss"]] == list(range(30))
    model, metadata = load_classifier(tmp_path / "model.safetensors")
    assert metadata["classes"] == ["a", "b", "c"]
    assert (metadata["dataset"], metadata["fold"], metadata["selection"]) == ("toy", 1, "last")
    assert (metadata["image_size"], metadata["frame_stride"]) == (32, 1)
    assert (metadata["stride_unit"], metadata["usual_fps"]) == ("seconds", 25.0)
    assert model.architecture.num_outputs == 3


def test_a_model_trained_with_hidden_modalities_answers_with_either_or_both(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path
) -> None:
    chosen = params(finetune={"epochs": 30, "modality_dropout": 0.8, "augmentation": NO_AUGMENTATION})
    finetune(chosen, labelled, tmp_path)
    model, metadata = load_classifier(tmp_path / "model.safetensors")
    assert metadata["recipe"]["modality_dropout"] == 0.8
    for shown in ("both", "video"):  # the toy's voices say nothing
        seen = dataclasses.replace(labelled, modality=shown)
        table = predict(model, seen, chosen.dataset["toy"], chosen.evaluate, torch.device("cpu"))
        assert set(table["shown"]) == {shown}
        assert (table["label"] == table["prediction"]).all()


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_every_augmentation_and_modality_trains(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path, modality: str
) -> None:
    chosen = params(finetune={"modality": modality, "epochs": 2})
    summary = finetune(chosen, dataclasses.replace(labelled, modality=modality), tmp_path)
    assert 0 < summary["train_loss"] < 3
    assert load_classifier(tmp_path / "model.safetensors")[0].architecture.modality == modality


def test_resumed_equals_uninterrupted(params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path) -> None:
    train, held_out = part(labelled, range(16)), part(labelled, range(16, 24))
    chosen = params(
        compute={"checkpoint_every_minutes": 0},
        finetune={"selection": "validation", "epochs": 4, "augmentation": NO_AUGMENTATION},
    )
    finetune(chosen, train, tmp_path / "whole", validation=held_out)
    with pytest.raises(Broken):
        finetune(chosen, train, tmp_path / "parts", Breaker(last=7), validation=held_out)
    finetune(chosen, train, tmp_path / "parts", validation=held_out)
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


def test_validation_chooses_the_best_epoch(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path
) -> None:
    train, held_out = part(labelled, range(16)), part(labelled, range(16, 24))
    chosen = params(finetune={"selection": "validation", "epochs": 6, "augmentation": NO_AUGMENTATION})
    summary = finetune(chosen, train, tmp_path, validation=held_out)
    history = pd.read_csv(tmp_path / "history.csv")
    assert {"validation_loss", "validation_uar", "validation_war"} <= set(history.columns)
    assert history["validation_uar"].iloc[-1] > 0.9
    assert summary["chosen_epoch"] == history["validation_uar"].argmax()
    assert load_classifier(tmp_path / "model.safetensors")[1]["epoch"] == summary["chosen_epoch"]


def test_validation_clips_go_with_selection_by_validation_alone(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"finetune.selection is last"):
        finetune(params(), labelled, tmp_path, validation=labelled)
    with pytest.raises(ValueError, match=r"finetune.selection is validation"):
        finetune(params(finetune={"selection": "validation"}), labelled, tmp_path)


def test_a_regressor_learns_its_targets(
    params: Callable[..., Params], with_targets: ClipDataset, tmp_path: Path
) -> None:
    train, held_out = part(with_targets, range(16)), part(with_targets, range(16, 24))
    keys = {"epochs": 15, "selection": "validation", "output_activation": "sigmoid", "augmentation": NO_AUGMENTATION}
    summary = finetune(params(finetune=keys), train, tmp_path, dataset_name="toy_regression", validation=held_out)
    assert summary["validation_loss"] < 0.05  # the variance of these targets is 0.17
    model, metadata = load_classifier(tmp_path / "model.safetensors")
    assert metadata["targets"] == ["arousal", "valence"]
    assert model.architecture.output_activation == "sigmoid"


def test_a_regressor_is_trained_without_mixing(
    params: Callable[..., Params], with_targets: ClipDataset, tmp_path: Path
) -> None:
    mixed, plain = (NO_AUGMENTATION | {"mixup": mixup, "cutmix": mixup} for mixup in (1.0, 0.0))
    first = finetune(
        params(finetune={"augmentation": mixed}), with_targets, tmp_path / "a", dataset_name="toy_regression"
    )
    second = finetune(
        params(finetune={"augmentation": plain}), with_targets, tmp_path / "b", dataset_name="toy_regression"
    )
    assert first["train_loss"] == second["train_loss"]


def test_training_starts_from_pretrained_weights(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    source = pretraining_model("demo", image_size=80)
    about = {"dataset": "toy_unlabelled", "recipe": {"epochs": 7}}
    save_model(tmp_path / "pretrained.safetensors", source, about | {"size": "demo"})
    keys = {"epochs": 1, "warmup_epochs": 0, "base_lr": 1e-9, "min_lr": 0}
    finetune(params(finetune=keys), labelled, tmp_path, pretrained=tmp_path / "pretrained.safetensors")
    model, metadata = load_classifier(tmp_path / "model.safetensors")
    assert metadata["pretraining"] == about
    assert metadata["recipe"]["base_lr"] == 1e-9
    for name in ("encoder.blocks.3.mlp.fc1.weight", "encoder_audio.norm.weight", "encoder_fusion.norm_audio.bias"):
        torch.testing.assert_close(model.state_dict()[name], source.state_dict()[name], atol=1e-7, rtol=0)


def test_a_published_checkpoint_is_read(tmp_path: Path) -> None:
    source = pretraining_model("small")
    wrapped = {f"module.{key}": value for key, value in source.state_dict().items()}
    for name, content in (("checkpoint-99.pth", {"model": source.state_dict(), "epoch": 99}), ("last.ckpt", wrapped)):
        torch.save(content, tmp_path / name)
        loaded = load_pretrained(tmp_path / name, "small")
        assert torch.equal(loaded.mask_token, source.mask_token)


def test_weights_of_another_size_or_kind_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", pretraining_model("demo"), {})
    with pytest.raises(
        ValueError, match=r"holds a model of size demo, but model.size is small; set model.size to demo"
    ):
        load_pretrained(tmp_path / "model.safetensors", "small")
    save_model(tmp_path / "classifier.safetensors", classifier("demo", 2), {})
    with pytest.raises(ValueError, match=r"holds a classifier; .* set finetune.checkpoint"):
        load_pretrained(tmp_path / "classifier.safetensors", "demo")


def test_the_fingerprint_follows_fold_and_weights(params: Callable[..., Params], tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"1")
    prints = {
        finetuning_fingerprint(params(), "toy", 1, [weights], weights),
        finetuning_fingerprint(params(), "toy", 2, [weights], weights),
        finetuning_fingerprint(params(), "toy", 1, [weights], None),
        finetuning_fingerprint(params(finetune={"drop_path": 0.2}), "toy", 1, [weights], weights),
    }
    assert len(prints) == 4
    assert finetuning_fingerprint(params(pretrain={"epochs": 9}), "toy", 1, [weights], weights) in prints
    adaptive = {"finetune": {"adaptive_epochs": 2}}
    longer = finetuning_fingerprint(params(**adaptive, pretrain={"batch_size": 4}), "toy", 1, [weights], weights)
    assert finetuning_fingerprint(params(**adaptive), "toy", 1, [weights], weights) not in {*prints, longer}


def test_a_linear_probe_learns_and_leaves_the_pretrained_features_alone(
    params: Callable[..., Params], labelled: ClipDataset, tmp_path: Path
) -> None:
    chosen = params(
        finetune={"epochs": 20, "trainable": "head", "base_lr": 1.0, "drop_path": 0.5, "augmentation": NO_AUGMENTATION}
    )
    torch.manual_seed(0)
    source = pretraining_model("demo", image_size=32, num_frames=4, num_audio_frames=32, skips=chosen.pretrain.skips)
    save_model(tmp_path / "pretrained.safetensors", source, {})
    finetune(chosen, labelled, tmp_path, pretrained=tmp_path / "pretrained.safetensors")
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["train_loss"].iloc[-1] < 0.6 * history["train_loss"].iloc[0]
    model, _ = load_classifier(tmp_path / "model.safetensors")
    assert torch.equal(model.video_layer_weights, torch.full((4,), 0.25))
    for name in ("encoder", "encoder_audio", "encoder_fusion"):
        pretrained = getattr(source, name).state_dict()
        assert all(torch.equal(value, pretrained[key]) for key, value in getattr(model, name).state_dict().items())
