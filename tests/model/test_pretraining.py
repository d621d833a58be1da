import math
import socket

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from hicmae_core.model.masking import random_mask, tube_mask
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.training.losses import contrastive_loss, pretraining_loss

TINY = {
    "image_size": 32,
    "num_frames": 4,
    "num_audio_frames": 32,
    "num_mel_bins": 32,
    "video_dim": 16,
    "video_depth": 3,
    "video_num_heads": 2,
    "audio_dim": 16,
    "audio_depth": 4,
    "audio_num_heads": 4,
    "fusion_num_heads": 2,
    "levels": (0, 2),
    "video_decoder_dim": 8,
    "video_decoder_depth": 3,
    "video_decoder_num_heads": 2,
    "audio_decoder_dim": 12,
    "audio_decoder_depth": 2,
    "audio_decoder_num_heads": 3,
}


def batch(model, batch_size=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    a = model.architecture
    num_time, num_space = model.video_grid[0], math.prod(model.video_grid[1:])
    return (
        torch.randn(batch_size, *a.video_shape, generator=generator, dtype=dtype),
        tube_mask(batch_size, num_time, num_space, 0.75, generator, "cpu"),
        torch.randn(batch_size, *a.audio_shape, generator=generator, dtype=dtype),
        random_mask(batch_size, math.prod(model.audio_grid), 0.5, generator, "cpu"),
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    return pretraining_model("demo", **TINY)


def test_shapes_and_unequal_modalities(model):
    out = model(*batch(model))
    assert out.video.shape == (3, 6, 1536)
    assert out.audio.shape == (3, 2, 256)
    assert [logits.shape for logits in out.contrastive_logits] == [(3, 3), (3, 3)]


def test_every_parameter_learns(model):
    inputs = batch(model)
    pretraining_loss(model(*inputs), *inputs, 0.0025, True)["total"].backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def test_gradient_equals_finite_differences(model):
    model = model.double()
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    inputs = batch(model, dtype=torch.float64)

    def loss():
        return pretraining_loss(model(*inputs), *inputs, 1.0, True)["total"]

    loss().backward()
    for _ in range(3):
        directions = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in model.parameters()]
        slope = sum((p.grad * d).sum() for p, d in zip(model.parameters(), directions, strict=True)).item()
        values = []
        with torch.no_grad():
            for step in (1e-6, -2e-6, 1e-6):
                for parameter, direction in zip(model.parameters(), directions, strict=True):
                    parameter += step * direction
                values.append(loss().item())
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-5)


def test_masked_content_does_not_leak(model):
    video, video_mask, audio, audio_mask = batch(model)
    before = model(video, video_mask, audio, audio_mask)
    hidden = video.clone()
    cells = video_mask.view(3, 2, 2, 2).repeat_interleave(2, 1).repeat_interleave(16, 2).repeat_interleave(16, 3)
    hidden[cells[:, None].expand_as(video)] = 9.0
    after = model(hidden, video_mask, audio, audio_mask)
    assert torch.equal(before.video, after.video)
    assert torch.equal(before.audio, after.audio)
    changed = model(video.flip(0), video_mask, audio, audio_mask)
    assert not torch.allclose(before.audio, changed.audio)


def test_contrast_stays_in_full_precision_under_autocast(model):
    inputs = batch(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(*inputs)
    assert out.video.dtype == torch.bfloat16
    assert all(logits.dtype == torch.float32 for logits in out.contrastive_logits)
    full = pretraining_loss(model(*inputs), *inputs, 0.0025, True)["total"]
    assert pretraining_loss(out, *inputs, 0.0025, True)["total"].item() == pytest.approx(full.item(), rel=0.02)


def test_wrong_masks_are_refused(model):
    video, video_mask, audio, audio_mask = batch(model)
    with pytest.raises(ValueError, match=r"audio_mask must have shape \[3, 4\], got \[3, 3\]"):
        model(video, video_mask, audio, audio_mask[:, :3])
    video_mask[0] = True
    with pytest.raises(ValueError, match="equally many"):
        model(video, video_mask, audio, audio_mask)


def _gathered_gradient(rank, port, folder):
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = pretraining_model("demo", **TINY, gather_negatives=True)
    part = [x[rank * 2 : rank * 2 + 2] for x in batch(model, 4)]
    replica = DistributedDataParallel(model, static_graph=True)
    contrastive_loss(replica(*part).contrastive_logits).backward()
    if rank == 0:
        torch.save([p.grad for p in model.encoder.parameters()], folder / "gradients.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_gathered_negatives_equal_one_large_batch(model, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(_gathered_gradient, (port, tmp_path), nprocs=2)
    contrastive_loss(model(*batch(model, 4)).contrastive_logits).backward()
    for gathered, parameter in zip(torch.load(tmp_path / "gradients.pt"), model.encoder.parameters(), strict=True):
        torch.testing.assert_close(gathered, parameter.grad, rtol=1e-4, atol=1e-6)


def test_without_skips_the_decoders_are_plain_and_of_the_same_depth():
    torch.manual_seed(0)
    model = pretraining_model("demo", **TINY, skips=False)
    assert len(model.decoder.blocks) == 3
    assert not any("cross" in name for name, _ in model.decoder.named_parameters())
    inputs = batch(model)
    pretraining_loss(model(*inputs), *inputs, 0.0025, True)["total"].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_skips_carry_the_levels_to_the_decoder_and_nothing_else_does(model):
    torch.manual_seed(0)
    for skips in (True, False):
        model = pretraining_model("demo", **TINY, skips=skips)
        inputs = batch(model)
        with torch.no_grad():
            for parameter in model.encoder_fusion.parameters():
                parameter.zero_()
        model(*inputs).video.sum().backward()
        assert (model.encoder.patch_embed.proj.weight.grad.abs().sum() > 0) == skips
