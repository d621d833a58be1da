import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from hicmae_core.model.masking import random_mask, tube_mask
from hicmae_core.model.pretraining import PretrainingOutput
from hicmae_core.model.sizes import pretraining_model
from hicmae_core.training.losses import audio_targets, contrastive_loss, pretraining_loss, video_targets


@pytest.fixture(scope="module")
def io(golden):
    return load_file(golden / "pretrain.io.safetensors")


def test_targets_agree_with_the_authors(io):
    targets = {
        "target_video": video_targets(io["video"], io["video_mask"]),
        "target_video_plain": video_targets(io["video"], io["video_mask"], frame_difference=False),
        "target_audio": audio_targets(io["audio"], io["audio_mask"]),
    }
    for name, value in targets.items():
        torch.testing.assert_close(value, io[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("frame_difference", "rows", "columns"), [(True, 16, 16), (False, 16, 16), (True, 8, 16)])
def test_video_targets_equal_the_plain_version(frame_difference, rows, columns):
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(2, 3, 4, 32, 32, generator=generator)
    grid = (2, 32 // rows, 32 // columns)
    mask = tube_mask(2, 2, grid[1] * grid[2], 0.5, generator, "cpu")
    targets = video_targets(video, mask, frame_difference, (2, rows, columns)).numpy()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = video.permute(0, 2, 3, 4, 1).double().numpy() * std + mean
    for row in range(2):
        for place, token in enumerate(np.flatnonzero(mask[row])):
            t, h, w = np.unravel_index(token, grid)
            cube = pixels[row, 2 * t : 2 * t + 2, rows * h : rows * h + rows, columns * w : columns * w + columns]
            cube = (cube - cube.mean((0, 1, 2))) / (cube.std((0, 1, 2), ddof=1) + 1e-6)
            if frame_difference:
                cube = np.stack([cube[0], cube[1] - cube[0]])
            np.testing.assert_allclose(targets[row, place], cube.ravel(), atol=1e-4)


def test_targets_of_a_constant_patch_are_finite():
    mask = torch.tensor([[1, 0, 1, 0]])
    assert video_targets(torch.full((1, 3, 2, 32, 32), 0.3), mask).isfinite().all()
    assert audio_targets(torch.zeros(1, 1, 32, 32), mask).abs().max() == 0


def test_contrastive_loss_equals_the_plain_version():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    rows = torch.stack([-logits[i].log_softmax(0)[i] for i in range(5)]).mean()
    columns = torch.stack([-logits[:, i].log_softmax(0)[i] for i in range(5)]).mean()
    torch.testing.assert_close(contrastive_loss(logits), (rows + columns) / 2)
    torch.testing.assert_close(
        contrastive_loss([logits, 2 * logits]), contrastive_loss(logits) + contrastive_loss(2 * logits)
    )
    assert contrastive_loss(torch.zeros(5, 5)).item() == pytest.approx(np.log(5))


@pytest.mark.parametrize("frame_difference", [True, False])
def test_perfect_prediction_costs_nothing(frame_difference):
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(3, 3, 4, 32, 32, generator=generator)
    audio = torch.randn(3, 1, 32, 32, generator=generator)
    video_mask = tube_mask(3, 2, 4, 0.5, generator, "cpu")
    audio_mask = random_mask(3, 4, 0.5, generator, "cpu")
    perfect = PretrainingOutput(
        video_targets(video, video_mask, frame_difference), audio_targets(audio, audio_mask), [1e4 * torch.eye(3)] * 2
    )
    losses = pretraining_loss(perfect, video, video_mask, audio, audio_mask, 0.0025, frame_difference)
    assert {name: loss.item() for name, loss in losses.items()} == {
        "total": 0.0, "video": 0.0, "audio": 0.0, "contrastive": 0.0,
    }  # fmt: skip


def test_predicting_nothing_costs_the_variance():
    video, audio = torch.randn(2, 3, 4, 32, 32), torch.randn(2, 1, 32, 32)
    video_mask = tube_mask(2, 2, 4, 0.5, torch.Generator().manual_seed(0), "cpu")
    audio_mask = random_mask(2, 4, 0.5, torch.Generator().manual_seed(0), "cpu")
    nothing = PretrainingOutput(torch.zeros(2, 4, 1536), torch.zeros(2, 2, 256), [torch.zeros(2, 2)])
    losses = pretraining_loss(nothing, video, video_mask, audio, audio_mask, 0, frame_difference=False)
    assert losses["video"].item() == pytest.approx(511 / 512, rel=1e-5)  # the deviation is the unbiased one
    assert losses["audio"].item() == pytest.approx(255 / 256, rel=1e-5)


def contrast(rows, columns, temperature):
    return contrastive_loss(F.normalize(rows, dim=1) @ F.normalize(columns, dim=1).T / temperature)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrast_of_aligned_pairs_is_at_its_bound(temperature):
    clips = torch.eye(8, 16, dtype=torch.float64)
    aligned = contrast(3 * clips, clips, temperature).item()
    assert aligned == pytest.approx(np.log1p(7 * np.exp(-1 / temperature)))
    assert contrast(clips, clips.roll(1, 0), temperature).item() == pytest.approx(aligned + 1 / temperature)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrast_falls_to_the_bound_of_a_simplex_and_no_lower(temperature):
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.randn(2, 8, 16, generator=generator, dtype=torch.float64)
    embeddings = [rows.requires_grad_(), columns.requires_grad_()]
    optimizer = torch.optim.Adam(embeddings, lr=0.05)
    losses = []
    for _ in range(500):
        loss = contrast(*embeddings, temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    bound = np.log1p(7 * np.exp(-8 / 7 / temperature))  # 8 unit vectors that are as far apart as can be
    assert losses[0] > 1
    assert min(losses) >= bound * (1 - 1e-9)
    assert losses[-1] == pytest.approx(bound, rel=0.001, abs=0.001)


def test_contrast_of_clips_that_all_look_alike_is_that_of_chance():
    torch.manual_seed(0)
    model = pretraining_model("demo", image_size=32, num_frames=4, num_audio_frames=32)
    video, audio = (
        torch.randn(1, 3, 4, 32, 32).expand(6, -1, -1, -1, -1),
        torch.randn(1, 1, 32, 128).expand(6, -1, -1, -1),
    )
    masks = (
        tube_mask(1, 2, 4, 0.5, torch.default_generator, "cpu"),
        random_mask(1, 16, 0.5, torch.default_generator, "cpu"),
    )
    video_mask, audio_mask = (mask.expand(6, -1) for mask in masks)
    levels = model(video, video_mask, audio, audio_mask).contrastive_logits
    assert len(levels) == 3
    for logits in levels:
        assert contrastive_loss(logits).item() == pytest.approx(np.log(6), rel=1e-5)
