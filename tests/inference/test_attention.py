"""Attention in the open: the model's own outputs, rollout against products of whole matrices, exact contributions."""

import pytest
import torch

from hicmae_core.inference.attention import constant, contributions, level_weights, rollout, trace
from hicmae_core.model.sizes import classifier

SHAPE = {"image_size": 32, "num_frames": 4, "num_audio_frames": 32, "num_mel_bins": 32}
CASES = [
    ("both", "hierarchical", "mean"),
    ("both", "last", "mean"),
    ("video", "hierarchical", "mean"),
    ("audio", "hierarchical", "mean"),
    ("both", "hierarchical", "statistics"),
    ("audio", "last", "statistics"),
]


def model_of(modality, fusion, pooling="mean", **overrides):
    """A model far from its start: every weight is random, fusion has two layers."""
    torch.manual_seed(0)
    kind = {"modality": modality, "fusion": fusion, "pooling": pooling}
    model = classifier("demo", 3, fusion_depth=2, **kind, **SHAPE, **overrides)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    if pooling == "statistics":
        torch.nn.init.normal_(model.fc_norm.running_mean)
        torch.nn.init.uniform_(model.fc_norm.running_var, 0.5, 2)
    return model.eval()


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 4, 32, 32, generator=generator), torch.randn(2, 1, 32, 32, generator=generator)


@pytest.mark.parametrize(("modality", "fusion", "pooling"), CASES)
def test_the_outputs_are_the_model_s_own(clip, modality, fusion, pooling):
    model = model_of(modality, fusion, pooling, output_activation="tanh")
    with torch.no_grad():
        torch.testing.assert_close(trace(model, *clip).outputs, model(*clip), atol=1e-5, rtol=1e-5)


def test_attention_mixes_with_weights_that_add_up_to_one(clip):
    traced = trace(model_of("both", "hierarchical"), *clip)
    maps = [m for by_block in traced.self_attention.values() for m in by_block] + [
        m for la in traced.fusion for m in la
    ]
    assert len(maps) == 4 + 4 + 2 * 4
    for attention in maps:
        torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))


def test_rollout_equals_products_of_whole_matrices(clip):
    model = model_of("both", "hierarchical")
    traced = trace(model, *clip)
    for index in range(2):
        video, video_levels = chain([m[index] for m in traced.self_attention["video"]])
        audio, audio_levels = chain([m[index] for m in traced.self_attention["audio"]])
        num_video = len(video)
        from_video = torch.cat([video, torch.zeros(num_video, len(audio))], dim=1)  # rows read [video | audio] patches
        from_audio = torch.cat([torch.zeros(len(audio), num_video), audio], dim=1)
        for layer in traced.fusion:
            from_video, from_audio = (
                half(layer.video_self[index]) @ (from_video + layer.video_cross[index] @ from_audio) / 2,
                half(layer.audio_self[index]) @ (from_audio + layer.audio_cross[index] @ from_video) / 2,
            )
        fused = from_video.mean(0) + from_audio.mean(0)
        own_video = sum(w * m.mean(0) for w, m in zip(level_weights(model, "video"), video_levels, strict=True))
        own_audio = sum(w * m.mean(0) for w, m in zip(level_weights(model, "audio"), audio_levels, strict=True))
        found = rollout(model, traced)
        torch.testing.assert_close(found["video"][index].flatten(), (fused[:num_video] + own_video) / 4)
        torch.testing.assert_close(found["audio"][index].flatten(), (fused[num_video:] + own_audio) / 4)


def chain(maps):
    """The product of all blocks' halved matrices, and the products up to each block."""
    product, levels = torch.eye(len(maps[0])), []
    for attention in maps:
        product = half(attention) @ product
        levels.append(product)
    return product, levels


def half(attention):
    return (attention + torch.eye(len(attention))) / 2


@pytest.mark.parametrize(("modality", "fusion", "pooling"), CASES)
def test_rollout_hands_on_everything(clip, modality, fusion, pooling):
    model = model_of(modality, fusion, pooling)
    found = rollout(model, trace(model, *clip))
    grids = {"video": (2, 2, 2), "audio": (2, 2)}
    assert {name: tuple(r.shape[1:]) for name, r in found.items()} == {
        name: grids[name] for name in (["video", "audio"] if modality == "both" else [modality])
    }
    torch.testing.assert_close(sum(r.flatten(1).sum(1) for r in found.values()), torch.ones(2))


@pytest.mark.parametrize(("modality", "fusion", "pooling"), CASES)
def test_contributions_add_up_to_the_outputs(clip, modality, fusion, pooling):
    model = model_of(modality, fusion, pooling)
    terms = contributions(model, trace(model, *clip))
    total = sum(term.sum(dim=1) for term in terms.values()) + constant(model)
    with torch.no_grad():
        torch.testing.assert_close(total, model(*clip), atol=1e-4, rtol=1e-4)
    assert next(tuple(term.shape) for term in terms.values()) == (2, 4 if fusion == "hierarchical" else 1, 3)


def test_a_block_that_is_weighed_out_contributes_nothing(clip):
    model = model_of("both", "hierarchical")
    model.video_layer_weights.data[2] = -100
    assert contributions(model, trace(model, *clip))["video"][:, 2].abs().max() < 1e-6
