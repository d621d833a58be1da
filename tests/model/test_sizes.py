"""The sizes have the published parameter counts, and impossible models are refused."""

import json

import pytest
import torch

from hicmae_core.model.sizes import classifier, pretraining_model


def on_meta(build, *args, **overrides):
    """Build without memory or initial values."""
    with torch.device("meta"):
        return build(*args, **overrides)


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("size", "expected"), [("tiny", 20_473_370), ("small", 45_652_250), ("base", 80_792_602)])
def test_classifier_parameter_counts(size, expected):
    assert num_parameters(on_meta(classifier, size, 6)) == expected


@pytest.mark.parametrize(("size", "expected"), [("small", 50_584_576), ("base", 99_609_344)])
def test_pretraining_parameter_counts(size, expected):
    assert num_parameters(on_meta(pretraining_model, size)) == expected


@pytest.mark.parametrize(("size", "dim"), [("tiny", 256), ("small", 384), ("base", 512)])
def test_shapes_are_the_published_ones(golden, size, dim):
    shapes = json.loads((golden / "official_state_dict_shapes.json").read_text())
    models = {"avit": on_meta(classifier, size, 6), "pretrain_hicmae": on_meta(pretraining_model, size)}
    for prefix, model in models.items():
        expected = shapes.get(f"{prefix}_dim{dim}_patch16_160_a256")
        if expected is not None:
            assert {key: list(value.shape) for key, value in model.state_dict().items()} == expected
        else:
            assert (prefix, size) == ("pretrain_hicmae", "tiny")


def test_grids():
    model = on_meta(pretraining_model, "base")
    assert model.video_grid == (8, 10, 10)
    assert model.audio_grid == (16, 8)
    small = on_meta(pretraining_model, "demo", image_size=80, num_frames=8, num_audio_frames=128)
    assert small.video_grid == (4, 5, 5)
    assert small.audio_grid == (8, 8)
    fine = on_meta(pretraining_model, "demo", image_size=64, video_patch=(2, 8, 16), audio_patch=(8, 128))
    assert fine.video_grid == (8, 8, 4)
    assert fine.audio_grid == (32, 1)


def test_overrides():
    model = on_meta(classifier, "demo", 4, modality="audio", drop_path=0.3, audio_depth=3, output_activation="tanh")
    assert not hasattr(model, "encoder")
    rates = [block.drop_path.drop_prob for block in model.encoder_audio.blocks]
    assert rates == pytest.approx([0, 0.15, 0.3])
    assert isinstance(model.activation, torch.nn.Tanh)


def test_what_cannot_be_built_is_refused_in_one_error():
    with pytest.raises(ValueError, match="no model size 'huge'; choose one of demo, tiny, small, base"):
        pretraining_model("huge")
    with pytest.raises(ValueError, match=r"unknown model field\(s\) imagesize"):
        classifier("demo", 4, imagesize=96)
    with pytest.raises(ValueError, match="num_outputs is 0") as caught:
        classifier("demo", 0, image_size=90, num_frames=3, drop_path=1.0, modality="smell", video_num_heads=3)
    for expected in ("image_size is 90", "num_frames is 3", "drop_path is 1.0", "'smell'", "video_num_heads 3"):
        assert expected in str(caught.value)
    with pytest.raises(ValueError, match=r"image_size is 64, not a positive multiple of 24, a patch's"):
        classifier("demo", 4, image_size=64, video_patch=(2, 8, 12))
    with pytest.raises(ValueError, match="a video patch has 2 frames"):
        classifier("demo", 4, video_patch=(4, 16, 16))
    with pytest.raises(ValueError, match="levels") as caught:
        pretraining_model("demo", levels=(2, 1, 7), temperature=0.0, audio_dim=64, audio_depth=0)
    for expected in ("audio_depth is 0", "temperature is 0.0", "video_dim 128 and audio_dim 64 differ"):
        assert expected in str(caught.value)


def test_initial_values():
    torch.manual_seed(0)
    model = classifier("demo", 4)
    assert model.video_layer_weights.tolist() == [0.25] * 4
    assert model.head.bias.tolist() == [0.0] * 4
    bound = (6 / (512 + 4)) ** 0.5
    assert 0.0009 * bound < model.head.weight.abs().max() <= 0.001 * bound
    qkv = model.encoder.blocks[0].attn.qkv.weight
    assert qkv.std().item() == pytest.approx((2 / (128 + 384)) ** 0.5, rel=0.05)
    embedding = model.encoder.patch_embed.proj.weight
    assert embedding.std().item() == pytest.approx((2 / (128 + 1536)) ** 0.5, rel=0.05)
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in (model.fc_norm, model.encoder.norm))
    pretraining = pretraining_model("demo")
    assert pretraining.mask_token.std().item() == pytest.approx(0.02, rel=0.3)
    assert all(parameter.isfinite().all() for parameter in pretraining.parameters())
