"""Layers against the plain version of the same thing."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hicmae_core.model.encoder import PatchEmbedding, patchify, sinusoid_positions
from hicmae_core.model.layers import Attention, Block, CrossAttention, CrossBlock, FusionEncoder, checkpoint_blocks
from hicmae_core.model.masking import random_mask, split_tokens, take


def randomise(module):
    """Values everywhere, biases included."""
    for parameter in module.parameters():
        parameter.data.normal_(std=0.3)
    return module


def plain_attention(query, key, value, num_heads):
    width = query.shape[-1] // num_heads
    outputs = []
    for head in range(num_heads):
        part = slice(head * width, (head + 1) * width)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(width)
        outputs.append(scores.softmax(-1) @ value[..., part])
    return torch.cat(outputs, -1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_attention_equals_the_plain_version():
    attention = randomise(Attention(12, 3))
    x = torch.randn(2, 7, 12)
    weights = attention.qkv.weight.split(12)
    query = x @ weights[0].T + attention.q_bias
    key = x @ weights[1].T
    value = x @ weights[2].T + attention.v_bias
    torch.testing.assert_close(attention(x), attention.proj(plain_attention(query, key, value, 3)))


def test_cross_attention_equals_the_plain_version():
    attention = randomise(CrossAttention(12, 20, 3))
    x, context = torch.randn(2, 7, 12), torch.randn(2, 5, 20)
    key_weight, value_weight = attention.kv.weight.split(12)
    query = x @ attention.q.weight.T + attention.q_bias
    value = context @ value_weight.T + attention.v_bias
    expected = attention.proj(plain_attention(query, context @ key_weight.T, value, 3))
    torch.testing.assert_close(attention(x, context), expected)


def test_fusion_reads_the_previous_layer_of_the_other_modality():
    fusion = randomise(FusionEncoder(12, 20, depth=2, num_heads=2))
    video, audio = torch.randn(2, 6, 12), torch.randn(2, 4, 20)
    first_video = fusion.blocks[0](video, audio)
    first_audio = fusion.blocks_audio[0](audio, video)
    expected = fusion.norm(fusion.blocks[1](first_video, first_audio))
    torch.testing.assert_close(fusion(video, audio)[0], expected)


def test_stochastic_depth_acts_in_training_only():
    block = randomise(Block(12, 3, drop_path=0.5))
    x = torch.randn(64, 5, 12)
    block.train()
    unchanged = (block(x) == x).all(dim=2).all(dim=1).float().mean()
    assert 0.1 < unchanged < 0.45
    block.eval()
    assert torch.equal(block(x), block(x))


@pytest.mark.parametrize(("shape", "patch"), [((3, 4, 32, 48), (2, 16, 16)), ((1, 64, 32), (16, 16))])
def test_patch_embedding_equals_the_convolution(shape, patch):
    embedding = PatchEmbedding(shape, patch, 24)
    x = torch.randn(3, *shape)
    tokens = embedding.proj(x).flatten(2).transpose(1, 2) + embedding.positions
    torch.testing.assert_close(embedding(x), tokens, rtol=1e-5, atol=1e-5)
    visible, _ = split_tokens(random_mask(3, tokens.shape[1], 0.5, torch.Generator().manual_seed(0), "cpu"))
    torch.testing.assert_close(embedding(x, visible), take(tokens, visible), rtol=1e-5, atol=1e-5)


def test_patches_are_in_grid_order():
    x = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    patches = patchify(x, (2, 3))
    assert patches.shape == (2, 4, 3, 2, 3)
    assert torch.equal(patches[1, 1], x[1, :, 0:2, 3:6])
    assert torch.equal(patches[1, 2], x[1, :, 2:4, 0:3])


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \[B, 1, 64, 32\], got \[2, 1, 32, 32\]"):
        PatchEmbedding((1, 64, 32), (16, 16), 24)(torch.zeros(2, 1, 32, 32))


def test_positions_follow_the_formula():
    table = sinusoid_positions(50, 6)
    for token in (0, 1, 49):
        for channel in range(6):
            angle = token / 10_000 ** (2 * (channel // 2) / 6)
            expected = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
            assert table[token, channel].item() == pytest.approx(expected, abs=1e-7)


def test_feed_forward_uses_the_exact_gelu():
    block = randomise(Block(4, 2))
    x = torch.randn(1, 3, 4)
    hidden = block.mlp.fc1(x)
    expected = block.mlp.fc2(0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2))))
    torch.testing.assert_close(block.mlp(x), expected)
    assert block.norm1.eps == 1e-6
    assert not torch.allclose(block.mlp(x), block.mlp.fc2(F.relu(hidden)))


def run_counting_kept(block, inputs):
    """The output, and how many tensors are kept for the backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        return block(*inputs), len(kept)


@pytest.mark.parametrize("block", [Block(12, 3, drop_path=0.5), CrossBlock(12, 20, 3, drop_path=0.5)])
def test_recomputed_activations_change_nothing(block):
    block, inputs = randomise(block), [torch.randn(8, 5, dim) for dim in (12, 20)][: 1 + isinstance(block, CrossBlock)]
    results = []
    for recomputes in (False, True):
        block.recomputes = False
        if recomputes:
            checkpoint_blocks(nn.ModuleList([block]))
        block.zero_grad()
        torch.manual_seed(1)  # drops the same rows
        out, num_kept = run_counting_kept(block, inputs)
        out.square().sum().backward()
        results.append((out.detach(), [parameter.grad.clone() for parameter in block.parameters()]))
        assert num_kept == len(inputs) if recomputes else num_kept > 10
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))
