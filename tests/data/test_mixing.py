"""Mixed clips, sounds and labels agree on one lambda."""

import pytest
import torch

from hicmae_core.config import AugmentationParams
from hicmae_core.data.augmentation import mix

BOTH = AugmentationParams()
MIXUP = AugmentationParams(cutmix=0)
CUTMIX = AugmentationParams(mixup=0)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def batch():
    """Four clips whose every value is their number, and their one-hot labels."""
    numbers = torch.arange(4.0)
    video = numbers[:, None, None, None, None].expand(4, 3, 2, 32, 32)
    audio = numbers[:, None, None, None].expand(4, 1, 8, 128)
    return video, audio, torch.eye(4)


@pytest.mark.parametrize("params", [BOTH, MIXUP, CUTMIX])
def test_one_lambda_for_all(params):
    for seed in range(30):
        video, audio, targets = mix(*batch(), params, generator(seed))
        share = targets[0, 0]
        assert torch.allclose(targets, share * torch.eye(4) + (1 - share) * torch.eye(4).flip(0))
        expected = share * torch.arange(4.0) + (1 - share) * torch.arange(3.0, -1, -1)
        torch.testing.assert_close(audio.mean((1, 2, 3)), expected)
        torch.testing.assert_close(video.mean((1, 2, 3, 4)), expected)


def test_cutmix_pastes_a_box_into_every_frame():
    video, _, targets = mix(*batch(), CUTMIX, generator(3))
    pasted = video[0] == 3
    assert ((video[0] == 0) | pasted).all()
    assert (pasted == pasted[:1, :1]).all()
    assert pasted.float().mean().item() == pytest.approx(targets[0, 3].item())


def test_both_kinds_are_used_about_equally():
    def is_cutmix(seed):
        return len(mix(*batch(), BOTH, generator(seed))[0][0].unique()) == 2

    assert 60 < sum(is_cutmix(seed) for seed in range(200)) < 140


def test_the_sound_can_stay_as_the_release_leaves_it():
    video, audio, targets = mix(*batch(), AugmentationParams(mix_audio=False), generator(0))
    assert torch.equal(audio, batch()[1])
    assert not torch.equal(targets, torch.eye(4))
    assert not torch.equal(video, batch()[0])


def test_off_is_off():
    off = AugmentationParams(mixup=0, cutmix=0)
    for mixed, original in zip(mix(*batch(), off, generator(0)), batch(), strict=True):
        assert torch.equal(mixed, original)


def test_the_generator_alone_decides():
    one, same, other = (mix(*batch(), BOTH, generator(seed))[2] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
