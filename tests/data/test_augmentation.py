"""Model inputs: plain for evaluation, reproducibly random for training."""

import math

import pytest
import torch
from torch.nn import functional as F

from hicmae_core.config import AugmentationParams
from hicmae_core.data.augmentation import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    _random_box,
    audio_gain,
    finetuning_augmentation,
    hide_modalities,
    multi_scale_corner_crop,
    resize_only,
)
from hicmae_core.data.tensors import FBANK_MEAN, FBANK_SCALE

PLAIN = AugmentationParams(randaugment_num_ops=0, crop_scale=(1, 1), crop_ratio=(1, 1), flip=False, erasing=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some_frames(num_clips=6, side=48):
    return torch.randint(0, 256, (num_clips, 4, side, side, 3), generator=generator(), dtype=torch.uint8)


def to_pixels(video):
    """The normalisation undone: 0 to 255."""
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return 255 * (video * std + mean)


def test_resizing_is_bilinear_and_normalised():
    frames = some_frames()
    video = resize_only(frames, 32)
    assert video.shape == (6, 3, 4, 32, 32)
    planes = frames.permute(0, 4, 1, 2, 3).float().flatten(0, 1)
    expected = F.interpolate(planes, size=(32, 32), mode="bilinear").view(6, 3, 4, 32, 32)
    torch.testing.assert_close(to_pixels(video), expected, atol=1e-3, rtol=0)
    assert torch.equal(video, resize_only(frames, 32))


def test_a_crop_of_the_right_size_is_only_normalised():
    frames = some_frames()
    torch.testing.assert_close(
        to_pixels(resize_only(frames, 48)), frames.permute(0, 4, 1, 2, 3).float(), atol=1e-3, rtol=0
    )


def test_without_its_parts_the_finetuning_augmentation_is_the_evaluation():
    frames = some_frames()
    plain = to_pixels(finetuning_augmentation(frames, PLAIN, 32, generator()))
    torch.testing.assert_close(plain, to_pixels(resize_only(frames, 32)), atol=1.01, rtol=0)  # whole grey levels


def test_crops_of_the_models_size_lose_nothing():
    frames = some_frames()
    assert torch.equal(finetuning_augmentation(frames, PLAIN, 48, generator()), resize_only(frames, 48))
    assert torch.equal(multi_scale_corner_crop(frames, (1.0,), 48, generator()), resize_only(frames, 48))


def test_clips_without_frames_stay_so():
    frames = some_frames()[:, :0]
    for video in (
        finetuning_augmentation(frames, AugmentationParams(), 32, generator()),
        multi_scale_corner_crop(frames, (1.0, 0.75), 32, generator()),
        resize_only(frames, 32),
    ):
        assert video.shape == (6, 3, 0, 32, 32)


@pytest.mark.parametrize("augment", ["finetuning", "pretraining"])
def test_the_generator_alone_decides(augment):
    frames = some_frames()

    def augmented(seed):
        if augment == "finetuning":
            return finetuning_augmentation(frames, AugmentationParams(), 32, generator(seed))
        return multi_scale_corner_crop(frames, (1.0, 0.875, 0.75, 0.66), 32, generator(seed))

    before = frames.clone()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert torch.equal(augmented(1), augmented(1))
    assert not torch.equal(augmented(1), augmented(2))
    assert augmented(1).shape == (6, 3, 4, 32, 32)
    assert augmented(1).isfinite().all()
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not used"
    assert torch.equal(frames, before)


def test_all_frames_of_a_clip_are_treated_alike():
    frames = some_frames()[:, :1].expand(-1, 4, -1, -1, -1)
    video = finetuning_augmentation(frames, AugmentationParams(erasing=0), 32, generator())
    torch.testing.assert_close(video, video[:, :, :1].expand_as(video))


def test_half_of_the_clips_are_flipped():
    frames = some_frames(num_clips=200, side=32)
    plain = resize_only(frames, 32)
    video = finetuning_augmentation(frames, PLAIN.model_copy(update={"flip": True}), 32, generator())
    flipped = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(video, plain, strict=True)])
    unchanged = torch.tensor([torch.equal(a, b) for a, b in zip(video, plain, strict=True)])
    assert (flipped ^ unchanged).all()
    assert 70 < flipped.sum() < 130


def test_erasing_puts_noise_in_a_box_of_some_clips():
    frames = torch.full((200, 2, 32, 32, 3), 124, dtype=torch.uint8)
    video = finetuning_augmentation(frames, PLAIN.model_copy(update={"erasing": 0.25}), 32, generator())
    changed = video != resize_only(frames, 32)
    touched = changed.flatten(1).any(1)
    assert 30 < touched.sum() < 70
    noise = video[changed]
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    share = changed[touched].float().flatten(1).mean(1)
    assert share.min() > 0.01
    assert share.max() < 0.36


def test_corner_crops_are_cut_where_they_should_be():
    ramp = torch.arange(48, dtype=torch.uint8)
    frames = torch.stack([ramp[:, None].expand(48, 48), ramp[None].expand(48, 48), torch.zeros(48, 48)], -1)
    frames = frames.to(torch.uint8).expand(300, 2, 48, 48, 3)
    video = to_pixels(multi_scale_corner_crop(frames, (1.0, 0.75, 0.5), 48, generator()))
    heights = (video[:, 0, 0, -1, 0] - video[:, 0, 0, 0, 0]).round() + 1
    widths = (video[:, 1, 0, 0, -1] - video[:, 1, 0, 0, 0]).round() + 1
    sides = [48, 36, 24]
    assert set(heights.tolist()) == set(widths.tolist()) == set(sides)
    assert all(
        abs(sides.index(h) - sides.index(w)) <= 1 for h, w in zip(heights.tolist(), widths.tolist(), strict=True)
    )
    tops = set(video[heights == 24][:, 0, 0, 0, 0].round().tolist())
    assert tops == {0, 6, 12, 18, 24}


def test_boxes_keep_their_area_and_aspect():
    draws = torch.rand(500, 10, 4, generator=generator()).tolist()
    boxes = [_random_box(tries, 100, (0.08, 1.0), (0.75, 1.3333)) for tries in draws]
    assert all(box is not None for box in boxes)
    for top, left, height, width in boxes:
        assert 0 <= top <= 100 - height
        assert 0 <= left <= 100 - width
        assert 0.07 < height * width / 1e4 <= 1
        assert 0.7 < width / height < 1.4
    assert _random_box([[0.5] * 4], 100, (1, 1), (2, 2)) is None


def test_the_gain_moves_every_value_alike():
    audio = torch.rand(400, 1, 8, 128, generator=generator())
    difference = audio_gain(audio, generator(1)) - audio
    torch.testing.assert_close(difference, difference[:, :, :1, :1].expand_as(difference), atol=1e-5, rtol=0)
    gain = (difference[:, 0, 0, 0] * FBANK_SCALE / 2).exp() - 0.5
    assert 0 < gain.min() < gain.max() < 1
    assert gain.mean().item() == pytest.approx(0.5, abs=0.02)
    assert gain.std().item() == pytest.approx(math.sqrt(1 / 84), abs=0.01)  # of Beta(10, 10)


def test_padding_and_silence_stay():
    audio = torch.zeros(2, 1, 4, 128)
    audio[:, :, 2] = -FBANK_MEAN / FBANK_SCALE
    audio[:, :, 3] = (math.log(torch.finfo(torch.float32).eps) - FBANK_MEAN) / FBANK_SCALE
    louder = audio_gain(audio, generator())
    assert torch.equal(louder[:, :, 2:], audio[:, :, 2:])
    assert (louder[:, :, :2] != 0).all()


def test_a_hidden_modality_is_zeros_each_as_often_and_never_both():
    video, audio = torch.ones(4000, 3, 2, 2, 2), torch.ones(4000, 1, 2, 4)
    seen, heard = hide_modalities(video, audio, 0.4, generator())
    looks, listens = seen.flatten(1).mean(1), heard.flatten(1).mean(1)
    assert set(looks.tolist()) == set(listens.tolist()) == {0.0, 1.0}
    assert (looks + listens).min() == 1
    assert looks.mean().item() == pytest.approx(0.8, abs=0.02)
    assert listens.mean().item() == pytest.approx(0.8, abs=0.02)
    assert video.min() == audio.min() == 1
    before = generator()
    assert hide_modalities(video, audio, 0, before)[0] is video
    assert torch.equal(before.get_state(), generator().get_state())
