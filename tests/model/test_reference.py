"""The model agrees with the authors' implementation, and reads its checkpoints."""

import argparse
import json
import pathlib
import re

import pytest
import torch
from safetensors.torch import load_file

from hicmae_core.model.artifact import load_model, save_model
from hicmae_core.model.classifier import Classifier, pool
from hicmae_core.model.pretraining import PretrainingModel
from hicmae_core.model.reference import (
    classifier_from_reference,
    load_reference_checkpoint,
    pretraining_from_reference,
    to_reference_state_dict,
)
from hicmae_core.model.sizes import SIZES, classifier
from hicmae_core.training.losses import contrastive_loss, pretraining_loss

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


class Golden:
    def __init__(self, folder, name):
        facts = json.loads((folder / f"{name}.json").read_text())
        self.config, self.facts = facts["config"], facts
        self.weights = load_file(folder / f"{name}.weights.safetensors")
        self.io = load_file(folder / f"{name}.io.safetensors")


@pytest.fixture(scope="module")
def pretrain(golden):
    return Golden(golden, "pretrain")


@pytest.fixture(scope="module")
def finetune(golden):
    return Golden(golden, "finetune")


def inputs(io):
    return io["video"], io["video_mask"], io["audio"], io["audio_mask"]


def test_pretraining_outputs(pretrain):
    model = pretraining_from_reference(pretrain.weights, pretrain.config)
    assert not model.training
    out = model(*inputs(pretrain.io))
    torch.testing.assert_close(out.video, pretrain.io["recon_video"], **TOLERANCE)
    torch.testing.assert_close(out.audio, pretrain.io["recon_audio"], **TOLERANCE)
    assert len(out.contrastive_logits) == 2
    for level, logits in enumerate(out.contrastive_logits):
        torch.testing.assert_close(logits, pretrain.io[f"logits_per_video.{level}"], rtol=1e-5, atol=1e-4)


def test_pretraining_losses_and_gradients(pretrain):
    model = pretraining_from_reference(pretrain.weights, pretrain.config)
    out = model(*inputs(pretrain.io))
    facts = pretrain.facts
    losses = pretraining_loss(out, *inputs(pretrain.io), facts["loss_weight"], frame_difference=True)
    expected = {
        "total": "loss_total",
        "video": "loss_video",
        "audio": "loss_audio",
        "contrastive": "loss_contrastive_sum",
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: facts[key] for name, key in expected.items()}, rel=1e-5
    )
    per_level = [contrastive_loss(logits).item() for logits in out.contrastive_logits]
    assert per_level == pytest.approx(facts["loss_contrastive_per_level"], rel=1e-5)
    losses["total"].backward()
    norms = {name: parameter.grad.norm().item() for name, parameter in model.named_parameters()}
    assert {name: norms[name] for name in facts["grad_norms"]} == pytest.approx(facts["grad_norms"], rel=1e-4)
    assert sum(norm**2 for norm in norms.values()) ** 0.5 == pytest.approx(facts["grad_norm_total"], rel=1e-5)


def test_classifier_outputs(finetune):
    model = classifier_from_reference(finetune.weights, finetune.config)
    assert not model.training
    video, audio = finetune.io["video"], finetune.io["audio"]
    torch.testing.assert_close(model(video, audio), finetune.io["logits"], **TOLERANCE)
    torch.testing.assert_close(model.features(video, audio), finetune.io["feature"], **TOLERANCE)
    for encoder, name in ((model.encoder, "video"), (model.encoder_audio, "audio")):
        levels = encoder(finetune.io[name], range(4))[1]
        means = torch.stack([pool(tokens, 1, "mean") for tokens in levels], dim=1)
        torch.testing.assert_close(means, finetune.io[f"{name}_layer_means"], **TOLERANCE)


@pytest.mark.parametrize("name", ["sigmoid", "relu", "tanh", None])
def test_head_activation(finetune, name):
    model = classifier_from_reference(finetune.weights, finetune.config | {"head_activation_func": name})
    logits = finetune.io["logits"]
    expected = getattr(torch, name)(logits) if name else logits
    torch.testing.assert_close(model(finetune.io["video"], finetune.io["audio"]), expected, **TOLERANCE)


def test_temperature_scales_the_logits(pretrain):
    warm = pretraining_from_reference(pretrain.weights, pretrain.config | {"inter_contrastive_temperature": 0.14})
    out = warm(*inputs(pretrain.io))
    torch.testing.assert_close(out.contrastive_logits[0] * 2, pretrain.io["logits_per_video.0"], rtol=1e-5, atol=1e-4)


def test_state_dicts_come_back_bit_for_bit(pretrain, finetune):
    for source, build in ((pretrain, pretraining_from_reference), (finetune, classifier_from_reference)):
        model = build(source.weights, source.config)
        back = to_reference_state_dict(model)
        assert back.keys() == source.weights.keys()
        assert all(torch.equal(back[key], value) for key, value in source.weights.items())
        next(model.parameters()).data.add_(1)
        assert all(torch.equal(back[key], value) for key, value in source.weights.items())


@pytest.mark.parametrize("other", [{"video_patch": (2, 8, 8)}, {"pooling": "statistics"}])
def test_other_models_than_the_published_ones_are_not_written(other):
    model = classifier("demo", 3, image_size=64, **other)
    with pytest.raises(ValueError, match="share the model in another format"):
        to_reference_state_dict(model)


def test_video_and_audio_may_differ(pretrain):
    """Another configuration: depths, heads and decoders of its own for audio, one decoder without a level."""
    config = pretrain.config | {
        "encoder_depth_audio": 5,
        "encoder_num_heads_audio": 4,
        "decoder_embed_dim_audio": 32,
        "decoder_depth_audio": 2,
        "decoder_num_heads_audio": 4,
        "encoder_fusion_depth": 1,
        "encoder_fusion_num_heads": 6,
        "img_size": 48,
        "img_size_audio": [32, 64],
        "return_intermediate_features": [0, 2],
    }
    with pytest.raises(ValueError, match=r"missing encoder_audio.blocks.4.norm1.weight \[48\]") as caught:
        pretraining_from_reference(pretrain.weights, config)
    for expected in (
        "unexpected encoder_fusion.blocks.1.norm1.weight",
        "unexpected decoder_audio.blocks.2.cross_norm1.weight",
        "mask_token_audio has shape [1, 1, 24] instead of [1, 1, 32]",
    ):
        assert expected in str(caught.value)


def test_levels_are_taken_in_the_order_of_the_blocks(pretrain):
    model = pretraining_from_reference(pretrain.weights, pretrain.config | {"return_intermediate_features": [3, 1]})
    torch.testing.assert_close(model(*inputs(pretrain.io)).video, pretrain.io["recon_video"], **TOLERANCE)


def test_configurations_that_cannot_be_represented(pretrain, finetune):
    incomplete = {key: value for key, value in pretrain.config.items() if key != "decoder_depth"}
    with pytest.raises(ValueError, match="missing decoder_depth, unknown init_values"):
        pretraining_from_reference(pretrain.weights, incomplete | {"init_values": 0.1})
    with pytest.raises(ValueError, match="decoder_num_classes is 768, but a patch holds 1536"):
        pretraining_from_reference(pretrain.weights, pretrain.config | {"decoder_num_classes": 768})
    with pytest.raises(ValueError, match="video_dim 48 and audio_dim 24 differ"):
        pretraining_from_reference(pretrain.weights, pretrain.config | {"encoder_embed_dim_audio": 24})
    with pytest.raises(ValueError, match="video_decoder_depth is 4, but 2 levels serve 1 to 3"):
        pretraining_from_reference(pretrain.weights, pretrain.config | {"decoder_depth": 4})
    with pytest.raises(ValueError, match="output_activation is 'softmax'"):
        classifier_from_reference(finetune.weights, finetune.config | {"head_activation_func": "softmax"})


def test_wrong_weights_are_all_named(finetune):
    weights = dict(finetune.weights)
    del weights["head.bias"], weights["encoder.norm.weight"]
    weights["fc_norm.bias"] = torch.zeros(5)
    weights["surprise"] = torch.zeros(1)
    with pytest.raises(ValueError, match="do not fit") as caught:
        classifier_from_reference(weights, finetune.config)
    for expected in (
        "missing head.bias [6]",
        "missing encoder.norm.weight [48]",
        "unexpected surprise",
        "fc_norm.bias has shape [5] instead of [192]",
    ):
        assert expected in str(caught.value)


def published(golden, name):
    """A state dict of the published shapes, every tensor holding its own number, at the cost of one value each."""
    shapes = json.loads((golden / "official_state_dict_shapes.json").read_text())[name]
    return {key: torch.full((1,), float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}


PUBLISHED = {
    "pretrain_hicmae_dim384_patch16_160_a256": ("small", PretrainingModel),
    "pretrain_hicmae_dim512_patch16_160_a256": ("base", PretrainingModel),
    "avit_dim256_patch16_160_a256": ("tiny", Classifier),
    "avit_dim384_patch16_160_a256": ("small", Classifier),
    "avit_dim512_patch16_160_a256": ("base", Classifier),
}


def test_every_published_shape_is_covered(golden):
    assert set(json.loads((golden / "official_state_dict_shapes.json").read_text())) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_load(golden, tmp_path, name):
    size, kind = PUBLISHED[name]
    weights = published(golden, name)
    path = tmp_path / "checkpoint.pth"
    torch.save(
        {
            "model" if kind is PretrainingModel else "module": weights,
            "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
            "args": argparse.Namespace(model=name, lr=1e-3, opt_betas=[0.9, 0.95]),
            "epoch": 99,
        },
        path,
    )
    model = load_reference_checkpoint(path)
    assert type(model) is kind
    assert not model.training
    assert model.architecture.video_dim == SIZES[size].dim
    state_dict = model.state_dict()
    assert {key: value.shape for key, value in state_dict.items()} == {k: v.shape for k, v in weights.items()}
    assert all(value.flatten()[-1] == weights[key].flatten()[0] for key, value in state_dict.items())
    if kind is Classifier:
        assert model.architecture.num_outputs == 6


def test_checkpoint_of_a_regressor(tmp_path):
    path = tmp_path / "checkpoint.pth"
    source = classifier("tiny", 3)
    torch.save({"module": to_reference_state_dict(source)}, path)
    model = load_reference_checkpoint(path, output_activation="tanh")
    assert model.architecture.num_outputs == 3
    assert model.architecture.output_activation == "tanh"
    assert torch.equal(model.head.weight, source.head.weight)


def test_checkpoints_that_are_refused(golden, tmp_path):
    path = tmp_path / "checkpoint.pth"
    with pytest.raises(ValueError, match="no such file"):
        load_reference_checkpoint(path)

    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not a readable weights file"):
        load_reference_checkpoint(path)

    torch.save({"state_dict": {}, "epoch": 3}, path)
    with pytest.raises(ValueError, match="found state_dict, epoch"):
        load_reference_checkpoint(path)

    torch.save({"model": {"fc.weight": torch.zeros(2)}}, path)
    with pytest.raises(ValueError, match=r"missing encoder.patch_embed.proj.weight"):
        load_reference_checkpoint(path)

    weights = published(golden, "avit_dim256_patch16_160_a256")
    torch.save({"model": weights | {"encoder.patch_embed.proj.weight": torch.zeros(100, 3, 2, 16, 16)}}, path)
    with pytest.raises(ValueError, match="encoder width 100 is that of no model size"):
        load_reference_checkpoint(path)

    broken = weights | {"extra": torch.zeros(1), "fc_norm.weight": torch.zeros(7)}
    del broken["encoder_audio.blocks.3.attn.q_bias"]
    torch.save({"module": broken}, path)
    with pytest.raises(ValueError, match="do not fit the tiny Classifier") as caught:
        load_reference_checkpoint(path)
    for expected in ("missing encoder_audio.blocks.3.attn.q_bias", "unexpected extra", "fc_norm.weight has shape [7]"):
        assert expected in str(caught.value)


def test_checkpoints_cannot_run_code(tmp_path):
    class Touch:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "touched",)

    torch.save({"model": {}, "args": Touch()}, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="not a readable weights file"):
        load_reference_checkpoint(tmp_path / "checkpoint.pth")
    assert not (tmp_path / "touched").exists()


@pytest.fixture
def wrong_file(tmp_path):
    """Makes files that hold no weights, or not as their names say."""
    save_model(tmp_path / "ours.safetensors", classifier("demo", 2, image_size=32, num_frames=4), {})
    torch.save({"model": {"weight": torch.zeros(1000)}}, tmp_path / "theirs.pth")
    ours, theirs = ((tmp_path / name).read_bytes() for name in ("ours.safetensors", "theirs.pth"))
    contents = {"ours": ours, "theirs": theirs, "empty": b"", "text": b"Dear model,\n" * 9}
    contents |= {"half of ours": ours[: len(ours) // 2], "half of theirs": theirs[: len(theirs) // 2]}

    def make(what, suffix):
        path = tmp_path / f"file{suffix}"
        if what == "folder":
            path.mkdir()
        else:
            path.write_bytes(contents[what])
        return path

    return make


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("what", ["ours", "theirs", "empty", "text", "half of ours", "half of theirs", "folder"])
def test_what_a_file_is_not_is_said_in_a_sentence(wrong_file, what, suffix):
    path = wrong_file(what, suffix)
    for read in (load_reference_checkpoint, load_model):
        if (what, read) == ("ours", load_model):
            continue  # whatever its name
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            read(path)
        assert len(str(caught.value).splitlines()) == 1
