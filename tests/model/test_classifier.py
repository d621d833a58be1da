import pytest
import torch

from hicmae_core.model.classifier import initialise_from_pretraining
from hicmae_core.model.sizes import classifier, pretraining_model

SMALL = {"image_size": 32, "num_frames": 4, "num_audio_frames": 32, "num_mel_bins": 32}


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 32, 32, generator=generator), torch.randn(2, 1, 32, 32, generator=generator)


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_one_modality_alone_is_that_encoder_alone(clip, modality):
    both = classifier("demo", 4, **SMALL).eval()
    alone = classifier("demo", 4, modality=modality, **SMALL).eval()
    names = {name.split(".")[0] for name in alone.state_dict()}
    encoder = "encoder" if modality == "video" else "encoder_audio"
    assert names == {f"{modality}_layer_weights", encoder, "fc_norm", "head"}

    getattr(alone, encoder).load_state_dict(getattr(both, encoder).state_dict())
    index = 0 if modality == "video" else 1
    inputs = [None, None]
    inputs[index] = clip[index]
    feature = alone.features(*inputs)
    assert feature.shape == (2, 128)
    joint = []
    both.fc_norm.register_forward_hook(lambda module, args, output: joint.append(args[0]))
    both.features(*clip)
    torch.testing.assert_close(feature, alone.fc_norm(joint[0][:, 128 * index : 128 * (index + 1)]))
    assert torch.equal(alone(*inputs), alone(*clip))


def test_a_missing_input_is_refused(clip):
    with pytest.raises(ValueError, match="reads audio, but audio is None"):
        classifier("demo", 4, **SMALL)(clip[0], None)


def test_inputs_of_another_shape_are_refused(clip):
    with pytest.raises(ValueError, match=r"\[B, 3, 4, 32, 32\], got \[2, 3, 4, 16, 32\]"):
        classifier("demo", 4, **SMALL)(clip[0][:, :, :, :16], clip[1])


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_every_parameter_learns(clip, modality):
    model = classifier("demo", 4, modality=modality, **SMALL)
    model(*clip).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_pretrained_encoders_are_copied(modality):
    pretraining = pretraining_model("demo", **SMALL)
    model = classifier("demo", 4, modality=modality, **SMALL)
    head = model.head.weight.clone()
    source = pretraining.state_dict()
    initialise_from_pretraining(model, source)
    copied = [key for key, value in model.state_dict().items() if key in source and torch.equal(value, source[key])]
    own = set(model.state_dict()) - set(copied)
    assert {name.split(".")[0] for name in own} <= {"video_layer_weights", "audio_layer_weights", "fc_norm", "head"}
    assert torch.equal(model.head.weight, head)


def test_pretrained_weights_that_do_not_fit_are_named_and_nothing_is_copied():
    model = classifier("demo", 4, **SMALL)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    source = pretraining_model("demo", audio_depth=5, **SMALL).state_dict()
    del source["encoder.norm.bias"]
    source["encoder_fusion.norm.weight"] = torch.zeros(3)
    with pytest.raises(ValueError, match="do not fit the classifier") as caught:
        initialise_from_pretraining(model, source)
    for expected in (
        "missing encoder.norm.bias [128]",
        "unexpected encoder_audio.blocks.4.norm1.weight",
        "encoder_fusion.norm.weight has shape [3] instead of [128]",
    ):
        assert expected in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_fusion_of_the_last_layer_alone(clip, modality):
    model = classifier("demo", 4, modality=modality, fusion="last", **SMALL)
    assert not any("layer_weights" in name for name, _ in model.named_parameters())
    joint = []
    model.fc_norm.register_forward_hook(lambda module, args, output: joint.append(args[0]))
    model(*clip).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    encoder, x = (model.encoder_audio, clip[1]) if modality == "audio" else (model.encoder, clip[0])
    torch.testing.assert_close(joint[0][:, :128], encoder(x, [])[0].mean(dim=1))


@pytest.mark.parametrize("fusion", ["hierarchical", "last"])
def test_a_linear_probe_learns_the_head_on_features_that_do_not_move(clip, fusion):
    model = classifier("demo", 4, drop_path=0.9, fusion=fusion, **SMALL)
    model.freeze_features()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    assert torch.equal(model.features(*clip), model.features(*clip))
    model(*clip).square().sum().backward()
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}
    assert model.training
    assert not model.encoder.training


def test_a_model_that_learns_whole_has_stochastic_depth(clip):
    model = classifier("demo", 4, drop_path=0.9, **SMALL).train()
    assert model.encoder.training
    assert not torch.equal(model.features(*clip), model.features(*clip))
    assert torch.equal(model.eval().features(*clip), model.features(*clip))


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_statistics_are_mean_and_deviation_over_time_at_every_place(clip, modality):
    model = classifier("demo", 4, modality=modality, fusion="last", pooling="statistics", **SMALL).eval()
    encoder, x = (model.encoder_audio, clip[1]) if modality == "audio" else (model.encoder, clip[0])
    tokens = encoder(x, [])[0].unflatten(1, (2, -1))  # two steps in time
    expected = torch.stack([tokens.mean(1), tokens.std(1, unbiased=False)], dim=1)
    assert expected.shape[2] == (2 if modality == "audio" else 4)  # places
    found = model.features(*clip)  # a fresh model has seen nothing to standardise by
    torch.testing.assert_close(found, expected.flatten(1), atol=2e-3, rtol=1e-3)


def test_statistics_leave_out_what_lies_beyond_the_end_of_a_sound(clip):
    model = classifier("demo", 4, modality="audio", pooling="statistics", **SMALL | {"num_audio_frames": 64}).eval()
    audio = clip[1].repeat(1, 1, 2, 1)
    audio[1, :, 40:] = 0.467  # it ends in the third of four steps; the end is padded with silence
    tokens = model.encoder_audio(audio, [0])[1][0].unflatten(1, (4, -1))
    model.audio_layer_weights.data = torch.tensor([99.0, 0, 0, 0])  # the first block alone
    expected = torch.stack([tokens[1, :3].mean(0), tokens[1, :3].std(0, unbiased=False)])
    torch.testing.assert_close(model.features(None, audio)[1], expected.flatten(), atol=2e-3, rtol=1e-3)
    assert model.features(None, torch.zeros_like(audio)).isfinite().all()  # a hidden voice


def test_statistics_are_standardised_by_the_training_clips(clip):
    model = classifier("demo", 4, pooling="statistics", **SMALL)
    model.freeze_features()
    model.train()
    features = model.features(*clip)
    torch.testing.assert_close(features.mean(0), torch.zeros(features.shape[1]), atol=1e-4, rtol=0)
    for _ in range(100):
        model.features(*clip)
    torch.testing.assert_close(model.eval().features(*clip).mean(0), torch.zeros(features.shape[1]), atol=1e-2, rtol=0)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}


@pytest.mark.parametrize("modality", ["both", "video", "audio"])
def test_every_parameter_learns_from_statistics(clip, modality):
    model = classifier("demo", 4, modality=modality, pooling="statistics", **SMALL)
    model.head.weight.data.normal_()
    model(*clip).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
