import pytest
import torch

from hicmae_core.model.masking import random_mask, split_tokens, take, tube_mask


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_tube_mask_hides_the_published_number_of_tokens():
    mask = tube_mask(5, 8, 100, 0.9, seeded(), "cpu")
    assert mask.dtype == torch.bool
    assert mask.shape == (5, 800)
    tubes = mask.view(5, 8, 100)
    assert (tubes == tubes[:, :1]).all()
    assert (tubes.sum(2) == 90).all()
    assert len({tuple(row.tolist()) for row in mask}) == 5


def test_random_mask_hides_the_published_number_of_tokens():
    mask = random_mask(5, 128, 0.8, seeded(), "cpu")
    assert (mask.sum(1) == 102).all()
    assert len({tuple(row.tolist()) for row in mask}) == 5


def test_random_mask_is_uniform_and_follows_its_generator():
    mask = random_mask(4000, 10, 0.5, seeded(), "cpu")
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.05
    assert torch.equal(mask, random_mask(4000, 10, 0.5, seeded(), "cpu"))
    assert not torch.equal(mask, random_mask(4000, 10, 0.5, seeded(1), "cpu"))


@pytest.mark.parametrize("ratio", [0.05, 1.0])
def test_masks_leave_something_on_both_sides(ratio):
    with pytest.raises(ValueError, match="leaves some masked and some visible"):
        random_mask(2, 10, ratio, seeded(), "cpu")


def test_split_and_take_agree_with_boolean_indexing():
    mask = random_mask(6, 20, 0.7, seeded(), "cpu")
    tokens = torch.randn(6, 20, 3, generator=seeded(1))
    for given in (mask, mask.float()):
        visible, masked = split_tokens(given)
        assert torch.equal(take(tokens, visible), tokens[~mask].view(6, -1, 3))
        assert torch.equal(take(tokens, masked), tokens[mask].view(6, -1, 3))


def test_masks_that_cannot_be_split():
    uneven = torch.tensor([[1, 1, 0], [1, 0, 0]])
    with pytest.raises(ValueError, match=r"equally many tokens, got \[2, 1\]"):
        split_tokens(uneven)
    for value in (0, 1):
        with pytest.raises(ValueError, match="on both sides"):
            split_tokens(torch.full((2, 3), value))
